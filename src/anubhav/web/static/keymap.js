// Which key does what, as this browser's user wants it: changed in a sheet, kept in the browser.

import { dialog } from "/static/app.js";
import { make, tell } from "/static/dom.js";
import { _ } from "/static/language.js";

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space" };
const TAKEN = ["?", "Escape", "Enter", "Tab", "Shift", "Control", "Alt", "Meta", "CapsLock"];

export function keymap(store, acts, changed) {
  let own = JSON.parse(localStorage.getItem(store) ?? "{}");
  const of = (name) => own[name] ?? acts[name].keys;
  const named = (key) => Object.keys(acts).find((name) => of(name).includes(key));
  const shown = (name) => of(name).map((key) => NAMES[key] ?? key).join(" ") || _("none");

  function set(name, key) {
    const before = named(key);
    if (before && before !== name) own[before] = of(before).filter((one) => one !== key);
    own[name] = [key];
    keep();
  }

  function keep() {
    localStorage.setItem(store, JSON.stringify(own));
    changed();
  }

  function change() {
    const rows = make("tbody");
    const show = () => rows.replaceChildren(...Object.keys(acts).map(row));
    const row = (name) => {
      const button = make("button", { type: "button", class: "small", "aria-label": _("Another key for {act}", { act: acts[name].label }), onclick: () => listen(name, button) }, _("Change"));
      return make("tr", {}, make("td", {}, make("kbd", {}, shown(name))), make("td", {}, acts[name].label), make("td", {}, button));
    };
    const listen = (name, button) => {
      button.textContent = _("Press a key");
      button.addEventListener("keydown", (event) => {
        if (event.key === "Escape" || event.key === "Tab" || event.ctrlKey || event.metaKey || event.altKey) return show();
        event.preventDefault();
        event.stopPropagation();
        if (TAKEN.includes(event.key)) return void tell(_("That key has a meaning of its own: take another"), { bad: true });
        set(name, event.key);
        show();
        rows.querySelectorAll("button")[Object.keys(acts).indexOf(name)].focus();
      });
    };
    const back = make("button", { type: "button", onclick: () => { own = {}; keep(); show(); } }, _("As at first"));
    show();
    dialog(_("Change keys"), make("table", {}, rows), make("p", { class: "quiet" }, _("Kept in this browser. A key that did something else does not do it any more.")), make("p", {}, back));
  }

  return { named, shown, change };
}
