// The playground: conversations that branch. An answer has the turns that followed it, a turn its answers; editing and
// asking again make another turn beside the first, and nothing is lost.

import { all, find, fresh, make } from "/static/dom.js";
import { _ } from "/static/language.js";
import { finish, hear, sampleOf, spread } from "/static/samples.js";
import { chat } from "/static/stream.js";
import { ways } from "/static/ways.js";

const settings = find("#settings");
const words = find("#words");
const talk = find("#talk");
const start = () => ({ turn: null, next: [], at: -1 });
let root = start();
let editing = null;
let session = fresh("play-");
let stopping = null;

// --- asking --------------------------------------------------------------------------------------------------------
find("#ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (stopping || !words.value.trim() || !sound()) return;
  const asked = words.value;
  const parent = editing ? editing.parent : end();
  editing = null;
  words.value = "";
  turnAfter(parent, [{ role: "user", content: asked }], asked);
});
words.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && editing) return leave();
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  find("#ask").requestSubmit();
});
find("#leave").addEventListener("click", leave);
find("#stop").addEventListener("click", () => stopping?.abort());
find("#clear").addEventListener("click", () => {
  stopping?.abort();
  [root, editing, session] = [start(), null, fresh("play-")];
  for (const link of all("#session, #memory")) link.hidden = true;
  show();
  words.focus();
});
for (const field of all("textarea[data-json]", settings)) field.addEventListener("input", () => field.setCustomValidity(""));

// What is typed as JSON must be some; a field that is folded away could not say so.
function sound() {
  for (const field of all("textarea[data-json]", settings)) {
    const wrong = problemOf(field);
    field.setCustomValidity(wrong);
    if (wrong) field.closest("details").open = true;
  }
  return settings.reportValidity();
}

function problemOf(field) {
  if (!field.value.trim()) return "";
  try {
    const given = JSON.parse(field.value);
    if (field.dataset.json === "list" && !Array.isArray(given)) return _("A list is wanted: [ … ]");
    return typeof given === "object" && given !== null ? "" : _("An object is wanted: { … }");
  } catch (problem) {
    return problem.message;
  }
}

function bodyOf(model, messages) {
  const chosen = Object.fromEntries(new FormData(settings));
  const system = chosen.system.trim() ? [{ role: "system", content: chosen.system }] : [];
  const body = { model, messages: [...system, ...messages], n: Number(chosen.n), temperature: Number(chosen.temperature), max_tokens: Number(chosen.max_tokens), session_id: session };
  if (chosen.probabilities) Object.assign(body, { logprobs: true, top_logprobs: 5 });
  if (chosen.tools.trim()) Object.assign(body, { tools: JSON.parse(chosen.tools).map((tool) => (tool.function ? tool : { type: "function", function: tool })), tool_choice: chosen.tool_choice });
  if (chosen.schema.trim()) body.response_format = { type: "json_schema", json_schema: { name: "answer", schema: JSON.parse(chosen.schema) } };
  if (chosen.memory) body.memory = true;
  return body;
}

// --- the tree ------------------------------------------------------------------------------------------------------
function path() {
  const turns = [];
  for (let one = root; one?.next.length; one = turns.at(-1).kept) turns.push(one.next[one.at]);
  return editing ? turns.slice(0, turns.indexOf(editing)) : turns;
}

const end = () => path().findLast((turn) => turn.kept)?.kept ?? root;

function turnAfter(parent, adds, asked) {
  const turn = { parent, adds, asked, kept: null, answers: null };
  const tool = adds[0].role === "tool";
  turn.branches = make("span", { class: "line branches" });
  turn.element = make("li", { class: tool ? "tool" : "user" }, make("span", { class: "role" }, tool ? _("Results") : _("You")), make("p", { class: "said" }, asked),
    make("p", { class: "line" }, tool ? null : make("button", { type: "button", class: "small", onclick: () => edit(turn) }, _("Edit")), turn.branches));
  parent.at = parent.next.push(turn) - 1;
  answer(turn);
}

function edit(turn) {
  if (stopping) return;
  editing = turn;
  words.value = turn.asked;
  show();
  words.focus();
}

function leave() {
  [editing, words.value] = [null, ""];
  show();
}

function again(turn) {
  if (!stopping) turnAfter(turn.parent, turn.adds, turn.asked);
}

function choose(sample) {
  if (stopping) return;
  keep(sample);
  show();
}

function keep(sample) {
  sample.turn.kept?.keep?.setAttribute("aria-pressed", "false");
  sample.turn.kept = sample;
  sample.keep.setAttribute("aria-pressed", "true");
}

function answered(sample, messages) {
  if (stopping) return;
  keep(sample);
  turnAfter(sample, messages, messages.map((one) => one.content).join("\n"));
}

// Only the end of the conversation changes: what stays keeps its place and its focus.
function show() {
  const turns = path();
  const wanted = turns.flatMap((turn) => [turn.element, turn.answers]).filter(Boolean);
  for (const child of [...talk.children]) if (!wanted.includes(child)) child.remove();
  talk.append(...wanted.filter((one) => !one.isConnected));
  for (const turn of turns) turn.branches.replaceChildren(...(turn.parent.next.length > 1 ? branchesOf(turn) : []));
  find("#leave").hidden = !editing;
}

function branchesOf(turn) {
  const { parent } = turn;
  const place = parent.next.indexOf(turn);
  const go = (to) => () => { if (!stopping) { parent.at = to; show(); find(".branches button:not(:disabled)", parent.next[to].element)?.focus(); } };
  const button = (label, name, to) => make("button", { type: "button", class: "small", "aria-label": name, disabled: to < 0 || to >= parent.next.length, onclick: go(to) }, label);
  return [button("‹", _("The branch before"), place - 1), make("span", { class: "quiet" }, _("branch {number} of {count}", { number: place + 1, count: parent.next.length })), button("›", _("The next branch"), place + 1)];
}

// --- answers -------------------------------------------------------------------------------------------------------
async function answer(turn) {
  const names = [settings.elements.model.value, settings.elements.other.value].filter((name) => name.trim());
  const columns = make("div", { class: "beside" });
  turn.answers = make("li", { class: "assistant", "aria-busy": "true" }, columns);
  show();
  busy(new AbortController());
  const bodies = names.map((model) => bodyOf(model, history(turn)));
  find("#request-ways").replaceChildren(ways(`anubhav run ${names[0]} --once "${turn.asked.replaceAll(/["$`\\]/g, "\\$&")}"`, "POST", "/v1/chat/completions", bodies[0]));
  await Promise.all(bodies.map((body) => listen(turn, body, columns)));
  busy(null);
  turn.answers.removeAttribute("aria-busy");
  point("#session", `/sessions/${session}`, _("session {name}", { name: session }));
}

function history(turn) {
  const messages = [...turn.adds];
  for (let one = turn.parent; one.turn; one = one.turn.parent)
    messages.unshift(...one.turn.adds, { role: "assistant", content: one.text || (one.calls.length ? null : ""), ...(one.calls.length ? { tool_calls: one.calls } : {}) });
  return messages;
}

function point(link, href, text) {
  Object.assign(find(link), { href, textContent: text, hidden: false });
}

function busy(controller) {
  stopping = controller;
  find("#stop").disabled = controller === null;
  find("#ask button[type=submit]").disabled = controller !== null;
}

async function listen(turn, body, columns) {
  const column = make("section", {}, make("h3", {}, body.model));
  columns.append(column);
  const samples = Array.from({ length: body.n }, () => sampleOf(turn));
  column.append(...samples.map((sample) => sample.element));
  try {
    const memory = await chat(body, stopping.signal, (told) => {
      for (const choice of told.choices) hear(samples[choice.index], told.id, choice);
    });
    if (memory) point("#memory", `/memory?id=${encodeURIComponent(memory.split("@")[0])}`, _("what it remembers"));
    for (const sample of samples) finish(sample, { again: () => again(turn), choose, answered });
    if (!turn.kept) keep(samples[0]);
    if (samples.length > 1) column.insertBefore(spread(samples), samples[0].element);
    find("#announce").textContent = _("{model} has answered", { model: body.model });
  } catch (problem) {
    const stopped = problem.name === "AbortError";
    samples.forEach((sample) => sample.element.classList.remove("busy"));
    column.append(make("p", { class: stopped ? "quiet" : "down", role: stopped ? null : "alert" },
      stopped ? _("Stopped. What was cut off is not recorded, so it cannot be judged.") : problem.message));
    column.append(make("button", { type: "button", class: "small", onclick: () => again(turn) }, _("Retry")));
  }
}
