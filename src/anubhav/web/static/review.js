// The review queue by keyboard. A judgement waits here until ten newer ones were made, so that it can be undone;
// it waits in the browser's storage too, so that closing the page loses none.

import { going, sheet } from "/static/app.js";
import { call, find, fresh, make, send, tell, typing } from "/static/dom.js";
import { _ } from "/static/language.js";
import { marked } from "/static/diff.js";
import { keymap } from "/static/keymap.js";

const DEEP = 10;
const STORE = "anubhav.review";
const { alias, rater } = find("#review").dataset;
const acts = {
  first: { label: _("A is better"), keys: ["1", "ArrowLeft"], pair: true, given: ([one, two]) => [{ target: one.target, kind: "comparison", value: two.target }] },
  second: { label: _("B is better"), keys: ["2", "ArrowRight"], pair: true, given: ([one, two]) => [{ target: two.target, kind: "comparison", value: one.target }] },
  tie: { label: _("Tie"), keys: ["0"], pair: true, given: (both) => both.map(({ target }) => ({ target, kind: "rating", value: 0.5 })) },
  bad: { label: _("Both bad"), keys: ["b"], pair: true, given: (both) => both.map(({ target }) => ({ target, kind: "thumb", value: false })) },
  good: { label: _("Good"), keys: ["g"], single: true, given: ([one]) => [{ target: one.target, kind: "thumb", value: true }] },
  wrong: { label: _("Bad"), keys: ["x"], single: true, given: ([one]) => [{ target: one.target, kind: "thumb", value: false }] },
  edit: { label: _("Correct"), keys: ["e"], pair: true, single: true },
  tag: { label: _("Tags"), keys: ["t"], pair: true, single: true },
  skip: { label: _("Skip"), keys: ["s"], pair: true, single: true, given: () => [] },
  undo: { label: _("Undo"), keys: ["u"] },
};
const keys = keymap(`${STORE}.keys`, acts, () => { tellKeys(); show(); });
tellKeys();

going.allowed = false;
let items = [];
let at = 0;
let made = [];
let tags = [];

function tellKeys() {
  const own = Object.entries(acts).map(([name, { label }]) => [keys.shown(name), name === "undo" ? _("undo, ten deep") : label]);
  sheet.splice(0, sheet.length, ...own, ["Ctrl Enter", _("submit")], ["Esc", _("keep a correction as a draft")]);
  find("[data-do=undo] kbd").textContent = keys.shown("undo");
}

// --- what is shown -------------------------------------------------------------------------------------------------
function show() {
  const item = items[at];
  find("#progress").max = Math.max(1, items.length);
  find("#progress").value = at;
  find("#count").textContent = items.length ? _("{count} of {whole}", { count: Math.min(at + 1, items.length), whole: items.length }) : "";
  find("#waiting").textContent = made.length ? _("{count} not sent yet", { count: made.length }) : "";
  find("[data-do=undo]").disabled = made.length === 0;
  find("[data-do=send]").disabled = made.length === 0;
  find("#item").replaceChildren(...(item ? content(item) : [nothing()]));
  find("#choices").replaceChildren(...(item ? choices(item) : []));
}

function nothing() {
  return make("p", { class: "card empty" }, items.length ? _("That was the last of this round.") : _("Nothing waits for a judgement."), " ",
    make("button", { type: "button", onclick: load }, _("Look for more")));
}

function content(item) {
  const asked = item.messages.map((one) => make("p", { class: one.role === "user" ? "ask said" : "said quiet" }, one.role === "user" ? one.content : `${one.role}: ${one.content}`));
  const pair = item.answers.length > 1;
  const answers = item.answers.map((one, place) => make("article", { class: "card" },
    make("h3", {}, pair ? "AB"[place] : _("Answer")),
    make("p", { class: "said" }, ...(pair ? marked(one.text, item.answers[1 - place].text) : [one.text]))));
  const tagged = tags.map((tag) => make("span", { class: "tag" }, tag));
  return [make("p", { class: "line quiet" }, make("span", { class: "badge" }, item.why), item.detail, ...tagged), make("div", { class: "card" }, ...asked), make("div", { class: "pair" }, ...answers)];
}

function choices(item) {
  const kind = item.answers.length > 1 ? "pair" : "single";
  return Object.entries(acts).filter(([, act]) => act[kind]).map(([name, act]) =>
    make("button", { type: "button", "data-do": name }, `${act.label} `, make("kbd", {}, keys.shown(name))));
}

// --- what is done --------------------------------------------------------------------------------------------------
function act(name) {
  const item = items[at];
  if (name === "undo") return undo();
  if (name === "send") return flush();
  const chosen = acts[name];
  if (!item || !chosen?.[item.answers.length > 1 ? "pair" : "single"]) return;
  if (name === "edit") return edit(item);
  if (name === "tag") return choose();
  decide(item, chosen.given(item.answers));
}

function decide(item, given) {
  const tagged = tags.length ? { tags } : {};
  made.push({ place: at, tags, given: given.map((one) => ({ id: fresh("rv_"), rater, ...tagged, ...one })) });
  at += 1;
  tags = [];
  if (made.length > DEEP) post(made.splice(0, made.length - DEEP));
  keep();
  show();
  find("#item").focus({ preventScroll: true });
}

function undo() {
  const last = made.pop();
  if (!last) return;
  at = last.place ?? at;
  tags = last.tags ?? [];
  keep();
  show();
}

function edit(item) {
  const draft = `${STORE}.draft.${item.id}`;
  const field = make("textarea", { rows: "4", "aria-label": _("What should have been said") });
  field.value = localStorage.getItem(draft) ?? item.answers[0].text;
  const save = () => {
    localStorage.removeItem(draft);
    decide(item, [{ target: item.answers[0].target, kind: "correction", text: field.value }]);
  };
  const leave = () => { localStorage.setItem(draft, field.value); show(); find("#item").focus(); };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); event.stopPropagation(); save(); }
    if (event.key === "Escape") leave();
  });
  find("#choices").replaceChildren(make("div", {}, field, make("p", { class: "line" },
    make("button", { type: "button", class: "main", onclick: save }, _("Correct"), " ", make("kbd", {}, "Ctrl Enter")),
    make("button", { type: "button", onclick: leave }, _("Keep as a draft"), " ", make("kbd", {}, "Esc")))));
  field.focus();
}

// Tags of what is looked at: typed, with commas between them; those used before are offered.
function choose() {
  const used = JSON.parse(localStorage.getItem(`${STORE}.tags`) ?? '["wrong", "unsafe", "rude", "too long", "off topic"]');
  const field = make("input", { "aria-label": _("Tags, with commas between them"), maxlength: "300", autocomplete: "off" });
  field.value = tags.join(", ");
  const flip = (tag) => {
    const now = split(field.value);
    field.value = (now.includes(tag) ? now.filter((one) => one !== tag) : [...now, tag]).join(", ");
    field.focus();
  };
  const done = () => {
    tags = split(field.value);
    localStorage.setItem(`${STORE}.tags`, JSON.stringify([...new Set([...tags, ...used])].slice(0, 12)));
    show();
    find("#item").focus({ preventScroll: true });
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey) { event.preventDefault(); event.stopPropagation(); done(); }
    if (event.key === "Escape") { show(); find("#item").focus(); }
  });
  find("#choices").replaceChildren(make("div", { class: "tags" }, field, make("p", { class: "line" },
    ...used.map((tag) => make("button", { type: "button", class: "small", onclick: () => flip(tag) }, tag)),
    make("button", { type: "button", class: "main", onclick: done }, _("Tag it"), " ", make("kbd", {}, "Enter")))));
  field.focus();
}

const split = (text) => [...new Set(text.split(",").map((one) => one.replaceAll(/[^\p{L}\p{N}_ -]/gu, "").replace(/^[ -]+/, "").trim().slice(0, 40)).filter(Boolean))].slice(0, 8);

// --- what is sent --------------------------------------------------------------------------------------------------
async function post(parts, more = {}) {
  const given = parts.flatMap((part) => part.given);
  if (!given.length) return;
  try {
    await send("/v1/feedback", "POST", given, more);
  } catch (problem) {
    // The same ids count once, so sending them again is safe.
    made.unshift(...parts);
    keep();
    show();
    tell(problem.message, { bad: true });
    throw problem;
  }
}

async function flush() {
  const parts = made.splice(0);
  const count = parts.filter((part) => part.given.length).length;
  show();
  await post(parts);
  keep();
  tell(_("{count} judgements were sent", { count }), { link: [_("See the laps"), "/releases#laps"] });
}

function keep() {
  localStorage.setItem(STORE, JSON.stringify(made.map(({ given }) => ({ given }))));
}

async function load() {
  ({ data: items } = await call(`/v1/review?alias=${encodeURIComponent(alias)}&rater=${encodeURIComponent(rater)}`));
  at = 0;
  tags = [];
  made.forEach((one) => { one.place = null; });
  show();
}

// --- keys ----------------------------------------------------------------------------------------------------------
const letters = find("#letters");
letters.checked = localStorage.getItem(`${STORE}.letters`) !== "no";
letters.addEventListener("change", () => localStorage.setItem(`${STORE}.letters`, letters.checked ? "yes" : "no"));
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !find("dialog[open]") && made.length) return void flush();
  if (typing() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.length === 1 && !letters.checked) return;
  const name = keys.named(event.key);
  if (name) {
    event.preventDefault();
    act(name);
  }
});
find("#remap").addEventListener("click", keys.change);
find("#review").addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) act(button.dataset.do);
});
window.addEventListener("pagehide", () => {
  if (made.length) post(made.splice(0), { keepalive: true }).then(keep, () => null);
});

const left = JSON.parse(localStorage.getItem(STORE) ?? "[]");
if (left.length) await post(left).then(() => localStorage.removeItem(STORE), () => null);
await load().catch((problem) => tell(problem.message, { bad: true }));
