// Runs that are ticked are compared.

import { all, find } from "/static/dom.js";
import { _ } from "/static/language.js";

const button = find("#compare");
const ticked = () => all("input[name=run]:checked").map((box) => box.value);

button?.addEventListener("click", () => {
  location.href = `/training_runs/compare?${ticked().map((run) => `run=${encodeURIComponent(run)}`).join("&")}`;
});
document.addEventListener("change", show);

function show() {
  const count = ticked().length;
  if (button) [button.disabled, button.textContent] = [count < 2 || count > 6, count < 2 ? _("Compare: tick two or more") : _("Compare {count}", { count })];
}

show();
