// Erasing a person: asked for twice, and then what was found is told.

import { dialog } from "/static/app.js";
import { call, find, make, tell } from "/static/dom.js";
import { _ } from "/static/language.js";

document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-erase]");
  if (button) ask(button.dataset);
});

function ask({ erase: user, tenant }) {
  const retrain = make("input", { type: "checkbox" });
  const sure = make("button", { type: "button", class: "danger" }, _("Erase {user}", { user }));
  const box = dialog(_("Erase {user}?", { user }),
    make("p", {}, _("All that this person said, what they judged and what is remembered of them is removed at once. It cannot be taken back.")),
    make("label", { class: "check" }, retrain, _("Roll back what had learned from it, and learn the rest anew")), make("p", {}, sure));
  sure.addEventListener("click", async () => {
    sure.disabled = true;
    try {
      const found = await call("/v1/erase", "POST", { user, tenant, retrain: retrain.checked });
      box.close();
      report(found);
    } catch (problem) {
      sure.disabled = false;
      tell(problem.message, { bad: true });
    }
  });
}

function report(found) {
  const kept = (lap) => lap.checkpoints.join(", ") || _("no checkpoint is left");
  const laps = found.laps.map((lap) => make("li", {}, make("a", { href: `/gates/${encodeURIComponent(lap.lap)}` }, lap.lap), " ",
    lap.direct ? _("was trained on it: {checkpoints}", { checkpoints: kept(lap) }) : _("went on from what was: {checkpoints}", { checkpoints: kept(lap) })));
  const again = found.retraining.map((one) => make("li", {}, one.rolled_back ? _("{alias} was rolled back", one) : one.alias, " ",
    one.lap ? _("and learns anew in {lap}", one) : one.why));
  const place = find("#person");
  place.replaceChildren(make("h2", { tabindex: "-1" }, _("{user} was erased", found)), make("div", { class: "card" },
    make("p", {}, _("Gone are replies: {replies}, judgements: {feedback}, memories: {memories}.", { ...found, replies: found.removed.length })),
    laps.length ? make("ul", {}, ...laps) : make("p", { class: "quiet" }, _("Nothing had been trained on them.")), again.length ? make("ul", {}, ...again) : null,
    make("p", {}, make("a", { href: "/sessions" }, _("Sessions")))));
  find("#turns").replaceChildren();
  find("h2", place).focus();
}
