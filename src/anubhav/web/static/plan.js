// A plan is asked for, and looked for every second until it is there.

import { call, find, tell } from "/static/dom.js";

const NUMBERS = ["gpus", "memory", "price", "rank", "sequence", "batch"];

find("#wishes").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = [...new FormData(event.target)].filter(([, value]) => value.trim());
  const wishes = Object.fromEntries(given.map(([name, value]) => [name, NUMBERS.includes(name) ? Number(value) : value]));
  try {
    const { id } = await call("/v1/plans", "POST", wishes);
    location.assign(`/plan?id=${id}`);
  } catch (problem) {
    tell(problem.message, { bad: true });
  }
});

const making = find("#making");
if (making) {
  const look = setInterval(async () => {
    const { state } = await call(`/v1/plans/${making.dataset.plan}`).catch(() => ({ state: "lost" }));
    if (state === "running") return;
    clearInterval(look);
    location.reload();
  }, 1000);
}
