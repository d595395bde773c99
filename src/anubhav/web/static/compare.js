// Several runs in one chart a metric. They are laid over each other by how often the metric was measured, as their
// operations are numbered differently.

import { chart, reader, smoother } from "/static/charts.js";
import { all, call, find } from "/static/dom.js";

const runs = all("#runs [data-run]").map((line) => ({ read: reader(line.dataset.run, call), ended: line.dataset.ended === "yes" }));
const labels = runs.map((_, at) => `${at + 1}`);
const series = new Map();
const { element, smooth } = smoother(draw);

async function look() {
  const fresh = await Promise.all(runs.map((run) => run.read()));
  const some = fresh.some((found) => found.length);
  if (some && !series.size) find("#charts").append(element);
  fresh.forEach((found, at) => {
    for (const [name, , value] of found) {
      if (!series.has(name)) series.set(name, { plot: chart(find("#charts"), name, labels), values: runs.map(() => []) });
      series.get(name).values[at].push(value);
    }
  });
  if (some) draw();
}

function draw() {
  for (const { plot, values } of series.values()) {
    const steps = Array.from({ length: Math.max(...values.map((one) => one.length)) }, (_, at) => at + 1);
    plot.setData([steps, ...values.map((one) => smooth(steps.map((step) => one[step - 1] ?? null)))]);
  }
}

await look().catch(() => null);
if (runs.some((run) => !run.ended)) setInterval(() => document.hidden || look().catch(() => null), 2000);
