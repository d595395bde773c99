// What is done with one checkpoint: how long it stays, who may read it, and its end.

import { call, find, tell } from "/static/dom.js";

const { place } = find("#checkpoint").dataset;
const box = find("#delete-box");

async function change(body) {
  try {
    await call(place, "PATCH", body);
    location.reload();
  } catch (problem) {
    tell(problem.message, { bad: true });
  }
}

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
