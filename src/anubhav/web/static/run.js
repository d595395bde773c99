// A run's metrics as charts, one a name, that grow while it trains. The table beneath them has the same figures.

import { chart, reader, smoother } from "/static/charts.js";
import { call, find } from "/static/dom.js";

const place = find("#charts");
const series = new Map();
const read = reader(place.dataset.run, call);
const { element, smooth } = smoother(draw);

async function look() {
  const fresh = await read();
  if (fresh.length && !series.size) place.append(element);
  for (const [name, seq, value] of fresh) {
    if (!series.has(name)) series.set(name, { plot: chart(place, name, [name]), points: [[], []] });
    const { points } = series.get(name);
    points[0].push(seq);
    points[1].push(value);
  }
  if (fresh.length) draw();
}

function draw() {
  for (const { plot, points: [steps, values] } of series.values()) plot.setData([steps, smooth(values)]);
}

await look().catch(() => null);
if (place.dataset.ended !== "yes") setInterval(() => document.hidden || look().catch(() => null), 2000);
