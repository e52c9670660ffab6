// The curves of runs: loss, loss by log-SNR, learning rate, gradient norm, speed and scores, over the images seen.

import { chart } from "./chart.js";
import { el } from "./dom.js";

const [POINTS, OUTLIERS] = [400, 0.005]; // points of a curve; share of the values that may be cut off at each end
const BINS = { "..-6": "< −6", "-6..-2": "−6 … −2", "-2..2": "−2 … 2", "2..6": "2 … 6", "6..": "> 6" };
const KNOWN = new Set(["images_seen", "loss", "lr", "grad_norm", "loss_by_logsnr", "images_per_second"]);

export class Curves {
  constructor() {
    const options = { axis: "", format: count };
    this.charts = {
      loss: chart("loss", { ...options, log: true }),
      bins: chart("loss by log-SNR", { ...options, log: true }),
      lr: chart("learning rate", options),
      grad_norm: chart("gradient norm", { ...options, log: true }),
      images_per_second: chart("images per second", options),
    };
    this.scores = new Map();
    this.legend = el("p", { class: "legend" });
    this.charted = el("div", { class: "charts" }, ...Object.values(this.charts).map(({ node }) => node));
    this.node = el("section", {}, this.charted, this.legend);
  }

  draw(runs) {
    const last = Math.max(1, ...runs.map(({ lines }) => lines.at(-1)?.images_seen ?? 0));
    const curves = (name) => runs.map(({ kind, lines }) => curve(kind, lines, (line) => line[name]));
    for (const name of ["loss", "lr", "grad_norm", "images_per_second"]) {
      const drawn = curves(name);
      show(this.charts[name], drawn, last, ["loss", "grad_norm"].includes(name));
    }
    const names = Object.keys(BINS);
    show(this.charts.bins, names.map((bin, i) => curve(`l${i}`, runs[0].lines, (line) => line.loss_by_logsnr?.[bin])), last, true);
    this.charts.bins.say("");
    this.legend.replaceChildren(`loss by log-SNR${runs.length > 1 ? ` of ${runs[0].label}` : ""}: `,
      ...names.map((bin, i) => el("span", { class: `l${i}` }, el("span", { class: "dot" }), BINS[bin])), " (noise to image). All curves are over the images seen.",
      ...runs.filter(({ damaged }) => damaged).map(({ label, damaged }) => ` ${damaged} damaged line${damaged > 1 ? "s" : ""} of the log of ${label} ${damaged > 1 ? "are" : "is"} left out.`));
    this.drawScores(runs, last);
  }

  drawScores(runs, last) {
    const names = new Set(runs.flatMap(({ lines }) => lines.filter((line) => !("loss" in line)).flatMap((line) => Object.keys(line))));
    for (const name of [...names].filter((one) => !KNOWN.has(one))) {
      if (!this.scores.has(name)) {
        this.scores.set(name, chart(name, { axis: "", format: count, log: true }));
        this.charted.append(this.scores.get(name).node);
      }
    }
    for (const [name, one] of this.scores) {
      one.node.toggleAttribute("hidden", !names.has(name));
      show(one, runs.map(({ kind, lines }) => curve(kind, lines, (line) => line[name])), last, true);
    }
  }
}

/** A curve of at most POINTS points, each the mean of its neighbours. */
function curve(kind, lines, value) {
  const found = lines.map((line) => [line.images_seen, value(line)]).filter(([, y]) => typeof y === "number");
  const width = Math.ceil(found.length / POINTS) || 1;
  const [x, y] = [[], []];
  for (let i = 0; i < found.length; i += width) {
    const part = found.slice(i, i + width);
    x.push(part.at(-1)[0]);
    y.push(part.reduce((sum, [, one]) => sum + one, 0) / part.length);
  }
  return { kind, x, y };
}

/** Draw curves in bounds that hold nearly all their values; what is outside is at the edge. */
function show(one, curves, last, log) {
  const values = curves.flatMap(({ y }) => y).filter((y) => !log || y > 0).sort((a, b) => a - b);
  const at = (share) => values[Math.min(values.length - 1, Math.floor(share * values.length))];
  let [low, high] = values.length ? [log ? at(OUTLIERS) : 0, at(1 - OUTLIERS)] : [log ? 0.1 : 0, 1];
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low, high * 2 || 1];
  const clamped = curves.map(({ kind, x, y }) => ({ kind, x, y: y.map((value) => Math.min(high, Math.max(low, value))) }));
  one.draw(clamped, { x: [0, last], y: [low, high] });
  one.say(curves.map(({ y }) => (y.length ? Number(y.at(-1).toPrecision(3)) : "")).filter((text) => text !== "").slice(0, 3).join("   "));
}

/** A number of images in few letters: 500, 12k, 3.5M. */
function count(value) {
  const [size, unit] = value >= 1e6 ? [1e6, "M"] : value >= 1e3 ? [1e3, "k"] : [1, ""];
  return `${Number((value / size).toPrecision(3))}${unit}`;
}
