// Charts of numbers that grow: one a name, with a line for each series, told apart by dashes as well as by colour.

import { find, make } from "/static/dom.js";
import { _ } from "/static/language.js";

const TONES = ["--accent", "--good", "--bad", "--wait", "--ink", "--quiet"];
const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [5, 2], [1, 5]];
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function chart(place, title, labels) {
  const box = make("div", { class: "chart card" }, make("h3", {}, title));
  place.append(box);
  find("#charts-none")?.classList.add("hidden");
  const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
  const lines = labels.map((label, at) => ({ label, stroke: color(TONES[at]), dash: DASHES[at], width: 2, spanGaps: true, points: { show: labels.length === 1, size: 5 } }));
  const plot = new window.uPlot({
    width: box.clientWidth - 36, height: 180, scales: { x: { time: false } }, axes: [{ ...axis, incrs: WHOLE }, { ...axis, size: 60 }],
    series: [{ label: "step" }, ...lines],
  }, [[], ...labels.map(() => [])], box);
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth - 36, height: 180 })).observe(box);
  return plot;
}

// What a run measured since the last look, as [name, seq, value]; what is pending is asked for again.
export function reader(run, call) {
  let last = null;
  return async () => {
    const after = last === null ? "" : `?after=${last}`;
    const { data } = await call(`/v1/runs/${encodeURIComponent(run)}/metrics${after}`);
    const settled = data.slice(0, data.findIndex((one) => one.state === "pending") >>> 0);
    if (settled.length) last = settled.at(-1).seq;
    return settled.flatMap((one) => Object.entries(one.metrics)
      .filter(([name, value]) => Number.isFinite(value) && name !== "step").map(([name, value]) => [name, one.seq, value]));
  };
}

// How much of a line is what came before; 0 shows it as it was measured.
export function smoother(changed) {
  const field = make("input", { type: "range", min: "0", max: "0.95", step: "0.05", value: "0", "aria-label": _("Smoothing") });
  field.addEventListener("input", changed);
  const smooth = (values) => {
    const share = Number(field.value);
    let last = null;
    return values.map((value) => (value === null ? null : (last = last === null ? value : share * last + (1 - share) * value)));
  };
  return { element: make("label", { class: "check" }, _("Smoothing"), field), smooth };
}
