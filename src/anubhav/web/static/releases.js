// Rolling back with a reason, and beginning a lap.

import { call, find, tell } from "/static/dom.js";
import { _ } from "/static/language.js";

const box = find("#roll-back");
let asked = null;

document.addEventListener("click", (event) => {
  const back = event.target.closest("[data-roll-back]");
  const lap = event.target.closest("[data-lap]");
  if (back) open(back.dataset);
  if (lap) begin(lap.dataset.lap);
  if (event.target.matches("#roll-back button[value=no]")) box.close("no");
});

function open({ rollBack: alias, to }) {
  asked = { alias, to };
  find("#roll-back-what").textContent = to
    ? _("From the next request on, {alias} answers with {release} again.", { alias, release: to })
    : _("From the next request on, {alias} answers with what came before. A candidate on trial is given up first.", { alias });
  box.returnValue = "";
  box.showModal();
  find("#roll-back-why").select();
}

box.addEventListener("close", async () => {
  if (box.returnValue !== "yes") return;
  const { alias, to } = asked;
  try {
    await call("/v1/rollback", "POST", { alias, why: find("#roll-back-why").value, ...(to ? { to } : {}) });
    location.reload();
  } catch (problem) {
    tell(problem.message, { bad: true });
  }
});

async function begin(alias) {
  try {
    await call("/v1/laps", "POST", { alias });
    location.reload();
  } catch (problem) {
    tell(problem.message, { bad: true });
  }
}
