// What differs between what was said before and after, marked.

import { all, find } from "/static/dom.js";
import { marked } from "/static/diff.js";

for (const example of all("[data-diff]")) {
  const [before, after] = ["before", "after"].map((side) => find(`[data-side=${side}]`, example));
  if (!before || !after) continue;
  const [was, is] = [before.textContent, after.textContent];
  before.replaceChildren(...marked(was, is));
  after.replaceChildren(...marked(is, was));
}
