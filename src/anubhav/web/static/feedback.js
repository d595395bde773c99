// An operator's word on a rater: trusted, quarantined, or by their record again.

import { call, tell } from "/static/dom.js";

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-rater][data-mark]");
  if (!button) return;
  const { rater, mark } = button.dataset;
  button.disabled = true;
  try {
    await call("/v1/raters", "POST", { rater, mark: mark || null });
    location.reload();
  } catch (problem) {
    button.disabled = false;
    tell(problem.message, { bad: true });
  }
});
