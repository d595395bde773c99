// The playground: conversations whose answers can be stopped, asked again, laid side by side, judged and corrected.

import { call, find, fresh, make, tell } from "/static/dom.js";
import { chat } from "/static/stream.js";
import { ways } from "/static/ways.js";

const settings = find("#settings");
const words = find("#words");
const talk = find("#talk");
let turns = [];
let session = fresh("play-");
let stopping = null;

// --- asking --------------------------------------------------------------------------------------------------------
find("#ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (stopping || !words.value.trim() || !settings.reportValidity()) return;
  const asked = words.value;
  words.value = "";
  ask(asked);
});
words.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  find("#ask").requestSubmit();
});
find("#stop").addEventListener("click", () => stopping?.abort());
find("#clear").addEventListener("click", () => {
  stopping?.abort();
  [turns, session] = [[], fresh("play-")];
  talk.replaceChildren();
  find("#session").hidden = true;
  words.focus();
});

async function ask(text) {
  const turn = { asked: text, kept: null, element: null };
  turns.push(turn);
  turn.element = make("li", { class: "user" }, make("span", { class: "role" }, "You"), make("p", { class: "said" }, text),
    make("button", { type: "button", class: "small", onclick: () => edit(turn) }, "Edit"));
  talk.append(turn.element);
  await answer(turn);
}

function edit(turn) {
  if (stopping) return;
  forget(turns.indexOf(turn));
  words.value = turn.asked;
  words.focus();
}

function forget(from) {
  for (const turn of turns.splice(from)) {
    turn.element.remove();
    turn.answers?.remove();
  }
}

async function answer(turn) {
  const chosen = Object.fromEntries(new FormData(settings));
  const messages = [...(chosen.system.trim() ? [{ role: "system", content: chosen.system }] : []), ...history(turn)];
  const names = [chosen.model, chosen.other].filter((name) => name?.trim());
  turn.answers?.remove();
  turn.kept = null;
  const columns = make("div", { class: "beside" });
  turn.answers = make("li", { class: "assistant", "aria-busy": "true" }, columns);
  talk.append(turn.answers);
  busy(new AbortController());
  const bodies = names.map((model) => ({
    model, messages, n: Number(chosen.n), temperature: Number(chosen.temperature), max_tokens: Number(chosen.max_tokens),
    session_id: session, ...(chosen.probabilities ? { logprobs: true, top_logprobs: 5 } : {}),
  }));
  find("#request-ways").replaceChildren(ways(`anubhav run ${names[0]} --once "${turn.asked.replaceAll(/["$`\\]/g, "\\$&")}"`, "POST", "/v1/chat/completions", bodies[0]));
  await Promise.all(bodies.map((body) => listen(turn, body, columns)));
  busy(null);
  turn.answers.removeAttribute("aria-busy");
  const link = find("#session");
  [link.href, link.textContent, link.hidden] = [`/sessions/${session}`, `session ${session}`, false];
}

function history(turn) {
  const before = turns.slice(0, turns.indexOf(turn)).filter((one) => one.kept);
  return [...before.flatMap((one) => [{ role: "user", content: one.asked }, { role: "assistant", content: one.kept.text }]), { role: "user", content: turn.asked }];
}

function busy(controller) {
  stopping = controller;
  find("#stop").disabled = controller === null;
  find("#ask button[type=submit]").disabled = controller !== null;
}

async function listen(turn, body, columns) {
  const column = make("section", {}, make("h3", {}, body.model));
  columns.append(column);
  const samples = Array.from({ length: body.n }, (_, index) => sampleOf(turn, body, index));
  column.append(...samples.map((sample) => sample.element));
  try {
    await chat(body, stopping.signal, (told) => {
      for (const choice of told.choices) hear(samples[choice.index], told.id, choice);
    });
    samples.forEach((sample) => finish(turn, sample));
    if (samples.length > 1) column.insertBefore(spread(samples), samples[0].element);
    tell(`${body.model} has answered`, { seconds: 2 });
  } catch (problem) {
    const stopped = problem.name === "AbortError";
    samples.forEach((sample) => sample.element.classList.remove("busy"));
    column.append(make("p", { class: stopped ? "quiet" : "down", role: stopped ? null : "alert" },
      stopped ? "Stopped. What was cut off is not recorded, so it cannot be judged." : problem.message));
    column.append(make("button", { type: "button", class: "small", onclick: () => again(turn) }, "Retry"));
  }
}

function again(turn) {
  if (stopping) return;
  forget(turns.indexOf(turn) + 1);
  answer(turn);
}

// --- one answer ----------------------------------------------------------------------------------------------------
function sampleOf(turn, body, index) {
  const said = make("p", { class: "said" });
  const element = make("article", { class: "sample busy" }, said);
  return { index, text: "", tokens: [], target: null, finish: null, said, element };
}

function hear(sample, id, choice) {
  const more = (choice.delta.reasoning_content ?? "") + (choice.delta.content ?? "");
  sample.text += choice.delta.content ?? "";
  sample.target = `${id}:${choice.index}`;
  sample.tokens.push(...(choice.logprobs?.content ?? []));
  sample.finish = choice.finish_reason ?? sample.finish;
  if (more) sample.said.append(more);
  for (const asked of choice.delta.tool_calls ?? []) sample.said.append(`\n${asked.function.name}(${asked.function.arguments})`);
}

function finish(turn, sample) {
  sample.element.classList.remove("busy");
  if (sample.tokens.length) showTokens(sample);
  const button = (label, act, more = {}) => make("button", { type: "button", class: "small", onclick: act, ...more }, label);
  const up = button("👍", () => judge(sample, true, [up, down]), { "aria-label": "Good answer", "aria-pressed": "false" });
  const down = button("👎", () => judge(sample, false, [down, up]), { "aria-label": "Bad answer", "aria-pressed": "false" });
  const keep = button("Continue with this", () => choose(turn, sample), { "aria-pressed": "false" });
  const row = make("p", { class: "line" }, up, down, button("Correct", () => correct(sample)), button("Retry", () => again(turn)), keep,
    make("span", { class: "quiet" }, sample.finish === "length" ? "cut short at the most tokens" : ""));
  sample.keep = keep;
  sample.element.append(row);
  if (!turn.kept) choose(turn, sample);
}

function choose(turn, sample) {
  if (turn.kept?.keep) turn.kept.keep.setAttribute("aria-pressed", "false");
  turn.kept = sample;
  sample.keep.setAttribute("aria-pressed", "true");
  forget(turns.indexOf(turn) + 1);
}

async function judge(sample, good, [pressed, other]) {
  const given = { target: sample.target, kind: "thumb", value: good, rater: "console" };
  if (!(await give(given, good ? "Kept: good" : "Kept: bad"))) return;
  pressed.setAttribute("aria-pressed", "true");
  other.setAttribute("aria-pressed", "false");
  if (!good) correct(sample);
}

function correct(sample) {
  if (find("form", sample.element)) return;
  const field = make("textarea", { rows: "3", "aria-label": "What it should have said", required: true });
  field.value = sample.text;
  const form = make("form", { class: "correction" }, field,
    make("p", { class: "line" }, make("button", { type: "submit", class: "main" }, "Send the correction"),
      make("button", { type: "button", onclick: () => form.remove() }, "Leave it")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = { target: sample.target, kind: "correction", text: field.value, rater: "console" };
    if (await give(given, "Queued; expected in the next candidate.", ["See the laps", "/releases#laps"])) {
      form.replaceWith(make("p", { class: "feedback down" }, `corrected: ${field.value}`), ways("", "POST", "/v1/feedback", given));
    }
  });
  sample.element.append(form);
  field.focus();
}

async function give(given, done, link = null) {
  try {
    await call("/v1/feedback", "POST", { id: fresh("pg_"), ...given });
    tell(done, { link });
    return true;
  } catch (problem) {
    tell(problem.message, { bad: true });
    return false;
  }
}

// --- several answers, and tokens -------------------------------------------------------------------------------------
function spread(samples) {
  const counts = new Map();
  for (const { text } of samples) counts.set(text.trim(), (counts.get(text.trim()) ?? 0) + 1);
  const rows = [...counts].sort((one, other) => other[1] - one[1]).map(([text, count]) => make("tr", {},
    make("td", { class: "num" }, `${count} of ${samples.length}`),
    make("td", {}, make("progress", { max: String(samples.length), value: String(count), "aria-label": `${count} of ${samples.length}` })),
    make("td", { class: "wide" }, text.slice(0, 120) || "(nothing)")));
  return make("details", { class: "spread", open: true }, make("summary", {}, `${counts.size} different answers of ${samples.length}`),
    make("table", {}, make("thead", {}, make("tr", {}, make("th", { class: "num" }, "Times"), make("th", {}, "Share"), make("th", {}, "Answer"))), make("tbody", {}, ...rows)));
}

function showTokens(sample) {
  const chance = (one) => Math.exp(one.logprob);
  const percent = (one) => `${(100 * chance(one)).toFixed(1)} %`;
  sample.said.replaceChildren(...sample.tokens.map((one) =>
    make("span", { class: `token p${Math.min(4, Math.floor(chance(one) * 5))}`, title: [one, ...one.top_logprobs].map((other) => `${other.token} ${percent(other)}`).join("\n") }, one.token)));
  const rows = sample.tokens.map((one) => make("tr", {}, make("td", {}, make("code", {}, JSON.stringify(one.token))), make("td", { class: "num" }, percent(one)),
    make("td", {}, one.top_logprobs.map((other) => `${JSON.stringify(other.token)} ${percent(other)}`).join("  "))));
  sample.element.append(make("details", {}, make("summary", {}, `${rows.length} tokens`),
    make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, "Token"), make("th", { class: "num" }, "Chance"), make("th", {}, "Likeliest"))), make("tbody", {}, ...rows))));
}
