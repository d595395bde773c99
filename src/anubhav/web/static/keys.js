// Keys made, shown once, and revoked; a tenant's quota set.

import { dialog } from "/static/app.js";
import { call, copy, find, make, tell } from "/static/dom.js";
import { _ } from "/static/language.js";

const box = find("#revoke");
let chosen = "";

async function attempt(act) {
  try {
    return await act();
  } catch (problem) {
    tell(problem.message, { bad: true });
    return null;
  }
}

find("#make")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = new FormData(event.target);
  const body = { tenant: given.get("tenant"), note: given.get("note"), prefix: given.get("prefix"), operator: given.has("operator") };
  // An operator's key needs all of them.
  if (!body.operator) body.scopes = given.getAll("scopes");
  const made = await attempt(() => call("/v1/keys", "POST", body));
  if (!made) return;
  const shown = dialog(_("The new key"), make("p", {}, _("It is shown this once: copy it now.")), make("pre", { id: "new-key", tabindex: "0" }, made.key),
    make("p", {}, make("button", { type: "button", class: "main", onclick: () => copy(made.key) }, _("Copy"))));
  shown.addEventListener("close", () => location.assign(`/keys?tenant=${encodeURIComponent(made.tenant)}`));
});

find("#quotas").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = [...new FormData(event.target)].map(([name, value]) => [name, value === "" ? null : Number(value)]);
  const path = event.target.dataset.tenant.split("/").map(encodeURIComponent).join("/");
  if (await attempt(() => call(`/v1/quotas/${path}`, "PUT", Object.fromEntries(given)))) tell(_("The quota is set"));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-revoke]");
  if (!button) return;
  chosen = button.dataset.revoke;
  find("#revoke-id").textContent = chosen;
  box.returnValue = "no";
  box.showModal();
});
box.addEventListener("close", async () => {
  if (box.returnValue === "yes" && (await attempt(() => call(`/v1/keys/${chosen}`, "DELETE")))) location.reload();
});
