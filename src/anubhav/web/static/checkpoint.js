// What is done with one checkpoint: other forms of it, how long it stays, who may read it, and its end.

import { call, find, tell } from "/static/dom.js";

const { place } = find("#checkpoint").dataset;
const box = find("#delete-box");

async function ask(path, method, body) {
  try {
    await call(path, method, body);
    location.reload();
  } catch (problem) {
    tell(problem.message, { bad: true });
  }
}

const change = (body) => ask(place, "PATCH", body);

find("#export")?.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(`${place}/exports`, "POST", { form: event.target.elements.form.value });
});
find("#live")?.addEventListener("click", ({ target }) => {
  if (target.dataset.drop) ask(`/v1/exports/${target.dataset.drop}`, "DELETE");
});

find("#ttl").addEventListener("submit", (event) => {
  event.preventDefault();
  const { value } = event.target.elements.seconds;
  change({ ttl_seconds: value ? Number(value) : null });
});
find("#publish").addEventListener("click", ({ target }) => change({ public: target.dataset.public !== "yes" }));
find("#delete").addEventListener("click", () => {
  box.returnValue = "no";
  box.showModal();
});
box.addEventListener("close", async () => {
  if (box.returnValue !== "yes") return;
  try {
    await call(place, "DELETE");
    location.href = "/checkpoints";
  } catch (problem) {
    tell(problem.message, { bad: true });
  }
});
