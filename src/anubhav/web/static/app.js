// The frame of every page: keys, jumping, copying, the switch that pauses learning, and what is shown again while it changes.

import { all, call, copy, find, make, tell, typing } from "/static/dom.js";
import { _ } from "/static/language.js";
import { showWays } from "/static/ways.js";

document.documentElement.classList.add("js");
showWays();

document.addEventListener("click", (event) => {
  const name = event.target.closest?.("[data-copy]");
  if (name) copy(name.dataset.copy);
});

// --- pausing -------------------------------------------------------------------------------------------------------
find("#hold").addEventListener("click", async ({ target }) => {
  const paused = target.dataset.paused !== "yes";
  try {
    await call("/v1/learning", "PUT", { paused, why: paused ? _("paused on the console") : "" });
    location.reload();
  } catch (problem) {
    tell(problem.message, { bad: true });
  }
});

document.addEventListener("click", async ({ target }) => {
  const lap = target.closest?.("[data-resume]")?.dataset.resume;
  if (!lap) return;
  try {
    await call(`/v1/laps/${lap}/resume`, "POST", {});
    location.reload();
  } catch (problem) {
    tell(problem.message, { bad: true });
  }
});

// --- keys ----------------------------------------------------------------------------------------------------------
const pages = all(".side nav a").map((link) => ({ name: link.textContent, href: link.getAttribute("href"), key: link.dataset.key }));
// A page with single-letter keys of its own adds them to the sheet, and has no `g` before them.
export const sheet = [];
export const going = { allowed: true, since: 0 };

function showKeys() {
  const own = [["?", _("this sheet")], ["Ctrl K", _("jump to a page or an id")]];
  const gone = going.allowed ? pages.map((page) => [`g ${page.key}`, page.name]) : [];
  const rows = [...sheet, ...own, ...gone].map(([key, what]) => make("tr", {}, make("td", {}, make("kbd", {}, key)), make("td", {}, what)));
  dialog(_("Keys"), make("table", {}, make("tbody", {}, ...rows)));
}

function showJump() {
  const list = make("ul", { id: "jump-list" });
  const field = make("input", { "aria-label": _("Page or id"), placeholder: _("A page, or an id such as ep_…"), autocomplete: "off" });
  let chosen = 0;
  const show = () => {
    const links = places(field.value.trim());
    chosen = Math.max(0, Math.min(chosen, links.length - 1));
    list.replaceChildren(...links.map(([name, href], at) => make("li", {}, make("a", { href, class: at === chosen ? "chosen" : "" }, name))));
  };
  field.addEventListener("input", () => { chosen = 0; show(); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      chosen += event.key === "ArrowDown" ? 1 : -1;
      show();
      event.preventDefault();
    } else if (event.key === "Enter") {
      find("a.chosen", list)?.click();
      event.preventDefault();
    }
  });
  show();
  dialog(_("Jump"), field, list);
  field.focus();
}

function places(text) {
  const found = pages.filter((page) => page.name.toLowerCase().includes(text.toLowerCase())).map((page) => [page.name, page.href]);
  const at = encodeURIComponent(text);
  if (text.startsWith("ep_")) found.unshift([_("This reply"), `/episodes/${at}`]);
  else if (text.includes("://")) found.unshift([_("This checkpoint"), `/checkpoints/${text.split("://")[1].split("/").map(encodeURIComponent).join("/")}`], [_("Talk to this checkpoint"), `/playground?mode=checkpoint&checkpoint=${at}`]);
  else if (text.includes(":train:")) found.unshift([_("This run"), `/training_runs/${at}`]);
  else if (text.startsWith("lap_")) found.unshift([_("This lap"), `/gates/${at}`]);
  else if (text.startsWith("key_")) found.unshift([_("This key"), `/keys/${at}`]);
  else if (text) found.push([_("The session {name}", { name: text }), `/sessions/${at}`]);
  return found;
}

export function dialog(title, ...content) {
  const close = make("button", { type: "button", onclick: () => box.close() }, _("Close"));
  const box = make("dialog", { "aria-label": title, onclose: () => box.remove() }, make("h2", {}, title), ...content, make("p", {}, close));
  document.body.append(box);
  box.showModal();
  return box;
}

find("#keys").addEventListener("click", showKeys);
find("#jump").addEventListener("click", showJump);
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    if (!find("dialog[open]")) showJump();
    return;
  }
  if (typing() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?") showKeys();
  else if (event.key === "g" && going.allowed) going.since = Date.now();
  else if (Date.now() - going.since < 1500) {
    const page = pages.find((one) => one.key === event.key);
    if (page) {
      event.stopImmediatePropagation();
      location.href = page.href;
    }
  }
}, true);

// --- what changes while it is looked at ------------------------------------------------------------------------------
const live = find("#live[data-refresh]");
if (live) setInterval(refresh, Number(live.dataset.refresh) * 1000);

async function refresh() {
  const open = find("#live").contains(document.activeElement) || find("dialog[open], #live details[open]") || !document.getSelection().isCollapsed;
  if (open || document.hidden) return;
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const [now, then] = [find("#live"), find("#live", page)];
  if (then) now.replaceChildren(...then.childNodes);
  showWays(now);
}
