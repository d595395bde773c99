// "Copy as CLI, Python, curl": what a page does or shows, for those who would rather type it.

import { all, copy, make } from "/static/dom.js";
import { _ } from "/static/language.js";

export function showWays(root = document) {
  for (const place of all("div.ways[data-path]", root)) {
    const { cli, method, path, body } = place.dataset;
    place.replaceWith(ways(cli, method, path, JSON.parse(body || "null")));
  }
}

export function ways(cli, method, path, body) {
  const written = { CLI: cli, Python: python(method, path, body), curl: curl(method, path, body) };
  const rows = Object.entries(written).filter(([, text]) => text).map(([name, text]) =>
    make("div", { class: "way" }, make("pre", { tabindex: "0" }, text), make("button", { type: "button", class: "small", onclick: () => copy(text) }, _("Copy {name}", { name }))));
  return make("details", { class: "ways" }, make("summary", {}, cli ? _("The same by CLI, Python or curl") : _("The same by Python or curl")), ...rows);
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(method, path, body) {
  const sent = body ? ` \\\n  -H 'content-type: application/json' -d ${quoted(JSON.stringify(body))}` : "";
  return `curl -X ${method} ${quoted(location.origin + path)} -H "x-api-key: $ANUBHAV_API_KEY"${sent}`;
}

function python(method, path, body) {
  if (path === "/v1/chat/completions") {
    const { stream, stream_options, session_id, memory, ...rest } = body;
    const more = memory ? [["extra_body", { memory, session_id }]] : [];
    const given = [...Object.entries(rest), ...more].map(([name, value]) => `    ${name}=${literal(value)},\n`).join("");
    return `from openai import OpenAI\n\nclient = OpenAI(base_url="${location.origin}/v1", api_key="tml-…")\nreply = client.chat.completions.create(\n${given})\nprint(reply.choices[0].message.content)`;
  }
  const sent = body ? `, json=${literal(body)}` : "";
  return `import os, httpx2\n\nprint(httpx2.request("${method}", "${location.origin}${path}"${sent},\n    headers={"x-api-key": os.environ["ANUBHAV_API_KEY"]}).json())`;
}

function literal(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}
