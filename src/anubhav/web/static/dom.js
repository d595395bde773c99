// What all scripts build on: elements made from text alone (never from HTML), calls of the public API, short notices.

import { _ } from "/static/language.js";

export const find = (query, root = document) => root.querySelector(query);
export const all = (query, root = document) => [...root.querySelectorAll(query)];

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export async function send(path, method = "GET", body = undefined, more = {}) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), ...more });
  if (!answer.ok) throw new Error(await problemOf(answer));
  return answer;
}

export const call = async (path, method, body) => (await send(path, method, body)).json();

async function problemOf(answer) {
  if (answer.status === 401) return _("You are signed out: open the address that `anubhav serve` printed.");
  try {
    return (await answer.json()).error.message;
  } catch {
    return _("The server answered {status}", { status: answer.status });
  }
}

export function tell(text, { bad = false, link = null, seconds = 6 } = {}) {
  const notice = make("p", { class: bad ? "toast bad" : "toast" }, text, ...(link ? [" ", make("a", { href: link[1] }, link[0])] : []));
  find("#toasts").append(notice);
  setTimeout(() => notice.remove(), seconds * 1000);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell(_("Copied"));
  } catch {
    tell(_("The browser did not let this page copy"), { bad: true });
  }
}

export const typing = () => document.activeElement?.matches("input:not([type=checkbox]), textarea, select") || find("dialog[open]") !== null;

export const fresh = (prefix) => prefix + [...crypto.getRandomValues(new Uint8Array(12))].map((one) => one.toString(16).padStart(2, "0")).join("");
