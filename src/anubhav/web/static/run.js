// A run's metrics as charts, one a name, that grow while it trains. The table beneath them has the same figures.

import { call, find, make } from "/static/dom.js";

const place = find("#charts");
const series = new Map();
let last = null;

async function look() {
  const after = last === null ? "" : `?after=${last}`;
  const { data } = await call(`/v1/runs/${encodeURIComponent(place.dataset.run)}/metrics${after}`);
  // What is pending is asked for again: its figures come later.
  const settled = data.slice(0, data.findIndex((one) => one.state === "pending") >>> 0);
  for (const one of settled) {
    last = one.seq;
    for (const [name, value] of Object.entries(one.metrics)) {
      if (!Number.isFinite(value)) continue;
      if (!series.has(name)) series.set(name, chart(name));
      const { points } = series.get(name);
      points[0].push(one.seq);
      points[1].push(value);
    }
  }
  if (settled.length) for (const { plot, points } of series.values()) plot.setData(points);
}

function chart(name) {
  const box = make("div", { class: "chart card" }, make("h3", {}, name));
  place.append(box);
  find("#charts-none").classList.add("hidden");
  const color = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
  const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
  const points = [[], []];
  const plot = new window.uPlot({
    width: box.clientWidth - 36, height: 180, scales: { x: { time: false } }, axes: [axis, { ...axis, size: 60 }],
    series: [{ label: "step" }, { label: name, stroke: color("--accent"), width: 2, points: { show: true, size: 5 } }],
  }, points, box);
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth - 36, height: 180 })).observe(box);
  return { plot, points };
}

await look().catch(() => null);
if (place.dataset.ended !== "yes") setInterval(() => document.hidden || look().catch(() => null), 2000);
