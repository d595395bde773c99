// One answer in the playground: heard as it comes, then judged, corrected, looked at token by token.

import { call, find, fresh, make, tell } from "/static/dom.js";
import { _ } from "/static/language.js";
import { ways } from "/static/ways.js";

export function sampleOf(turn) {
  const said = make("p", { class: "said" });
  const element = make("article", { class: "sample busy" }, said);
  return { turn, next: [], at: -1, text: "", calls: [], tokens: [], target: null, finish: null, said, element };
}

export function hear(sample, id, choice) {
  const more = (choice.delta.reasoning_content ?? "") + (choice.delta.content ?? "");
  sample.text += choice.delta.content ?? "";
  sample.target = `${id}:${choice.index}`;
  sample.tokens.push(...(choice.logprobs?.content ?? []));
  sample.finish = choice.finish_reason ?? sample.finish;
  if (more) sample.said.append(more);
  for (const { id: name, function: asked } of choice.delta.tool_calls ?? []) sample.calls.push({ id: name, type: "function", function: asked });
}

// What can be done with a whole answer. `acts`: again, choose, answered (with a tool's messages).
export function finish(sample, acts) {
  sample.element.classList.remove("busy");
  if (sample.tokens.length) showTokens(sample);
  if (sample.calls.length) sample.element.append(callsOf(sample, acts.answered));
  const button = (label, act, more = {}) => make("button", { type: "button", class: "small", onclick: act, ...more }, label);
  const up = button(_("▲ Good"), () => judge(sample, true, [up, down]), { "aria-pressed": "false" });
  const down = button(_("▼ Bad"), () => judge(sample, false, [down, up]), { "aria-pressed": "false" });
  sample.keep = button(_("Continue with this"), () => acts.choose(sample), { "aria-pressed": "false" });
  sample.element.append(make("p", { class: "line" }, up, down, button(_("Correct"), () => correct(sample)), button(_("Retry"), acts.again), sample.keep,
    make("span", { class: "quiet" }, sample.finish === "length" ? _("cut short at the most tokens") : "")));
}

// Calls of tools run nowhere: whoever sits here types what they give.
function callsOf(sample, answered) {
  const fields = sample.calls.map(({ function: asked }) => make("textarea", { rows: "2", required: true, "aria-label": _("Result of {name}", { name: asked.name }) }));
  const rows = sample.calls.map(({ function: asked }, at) => make("div", { class: "call" },
    make("pre", { tabindex: "0" }, make("strong", {}, asked.name), `(${asked.arguments})`), make("label", {}, _("Result of {name}", { name: asked.name }), " ", fields[at])));
  const form = make("form", { class: "calls" }, ...rows, make("p", { class: "line" }, make("button", { type: "submit", class: "main" }, _("Send the results"))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    answered(sample, sample.calls.map(({ id }, at) => ({ role: "tool", tool_call_id: id, content: fields[at].value })));
  });
  return form;
}

// --- judging -------------------------------------------------------------------------------------------------------
async function judge(sample, good, [pressed, other]) {
  const given = { target: sample.target, kind: "thumb", value: good, rater: "console" };
  if (!(await give(given, good ? _("Kept: good") : _("Kept: bad")))) return;
  pressed.setAttribute("aria-pressed", "true");
  other.setAttribute("aria-pressed", "false");
  if (!good) correct(sample);
}

function correct(sample) {
  if (find("form.correction", sample.element)) return;
  const field = make("textarea", { rows: "3", "aria-label": _("What it should have said"), required: true });
  field.value = sample.text;
  const form = make("form", { class: "correction" }, field,
    make("p", { class: "line" }, make("button", { type: "submit", class: "main" }, _("Send the correction")),
      make("button", { type: "button", onclick: () => form.remove() }, _("Leave it"))));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = { target: sample.target, kind: "correction", text: field.value, rater: "console" };
    if (await give(given, _("Queued; expected in the next candidate."), [_("See the laps"), "/releases#laps"])) {
      form.replaceWith(make("p", { class: "feedback down" }, _("corrected: {text}", { text: field.value })), ways("", "POST", "/v1/feedback", given));
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

// --- several answers, and tokens -----------------------------------------------------------------------------------
function wide(label, ...parts) {
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, make("table", {}, ...parts));
}

export function spread(samples) {
  const counts = new Map();
  for (const { text } of samples) counts.set(text.trim(), (counts.get(text.trim()) ?? 0) + 1);
  const rows = [...counts].sort((one, other) => other[1] - one[1]).map(([text, count]) => make("tr", {},
    make("td", { class: "num" }, _("{count} of {whole}", { count, whole: samples.length })),
    make("td", {}, make("progress", { max: String(samples.length), value: String(count), "aria-label": _("{count} of {whole}", { count, whole: samples.length }) })),
    make("td", { class: "wide" }, text.slice(0, 120) || _("(nothing)"))));
  return make("details", { class: "spread", open: true }, make("summary", {}, counts.size === 1 ? _("{count} answers, all alike", { count: samples.length }) : _("{count} answers, {different} different", { count: samples.length, different: counts.size })),
    wide(_("Answers"), make("thead", {}, make("tr", {}, make("th", { class: "num" }, _("Times")), make("th", {}, _("Share")), make("th", {}, _("Answer")))), make("tbody", {}, ...rows)));
}

function showTokens(sample) {
  const chance = (one) => Math.exp(one.logprob);
  const percent = (one) => `${(100 * chance(one)).toFixed(1)} %`;
  sample.said.replaceChildren(...sample.tokens.map((one) =>
    make("span", { class: `token p${Math.min(4, Math.floor(chance(one) * 5))}`, title: [one, ...one.top_logprobs].map((other) => `${other.token} ${percent(other)}`).join("\n") }, one.token)));
  const rows = sample.tokens.map((one) => make("tr", {}, make("td", {}, make("code", {}, JSON.stringify(one.token))), make("td", { class: "num" }, percent(one)),
    make("td", {}, one.top_logprobs.map((other) => `${JSON.stringify(other.token)} ${percent(other)}`).join("  "))));
  sample.element.append(make("details", {}, make("summary", {}, _("{count} tokens", { count: rows.length })),
    wide(_("Tokens"), make("thead", {}, make("tr", {}, make("th", {}, _("Token")), make("th", { class: "num" }, _("Chance")), make("th", {}, _("Likeliest")))), make("tbody", {}, ...rows))));
}
