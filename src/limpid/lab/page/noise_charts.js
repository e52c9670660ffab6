// The charts of the view Noise: the levels of its schedules with a mark that moves, and the histogram of x.

import { chart, short } from "./chart.js";
import { histogram } from "./diffusion.js";
import { el } from "./dom.js";

const [LIMIT, BINS, POWER] = [3.5, 48, 8]; // of the histogram; the powers of ten of the SNR that are shown

const digits = (y) => (y === null ? "–" : short(Number(y.toPrecision(3))));

export class NoiseCharts {
  constructor() {
    this.alpha_bar = chart("ᾱ  signal");
    this.logsnr = chart("SNR", { powers: true });
    this.beta = chart("β of a step");
    this.histogram = chart("values of x", { axis: "" });
    this.node = el("div", { class: "charts" }, ...[this.alpha_bar, this.logsnr, this.beta, this.histogram].map(({ node }) => node));
  }

  /** The curves of schedules, each with its `kind` and `levels`. */
  draw(paths) {
    const curves = (name, scale = 1) => paths.map(({ kind, levels }) => ({ kind, x: levels.u, y: levels[name].map((y) => (y === null ? null : y * scale)) }));
    const values = (list) => list.flatMap(({ y }) => y.filter((one) => one !== null));
    const [snr, beta] = [curves("logsnr", 1 / Math.LN10), curves("beta")];
    const powers = values(snr);
    this.alpha_bar.draw(curves("alpha_bar"), { x: [0, 1], y: [0, 1] });
    this.logsnr.draw(snr, { x: [0, 1], y: [Math.max(Math.min(...powers), -POWER), Math.min(Math.max(...powers), POWER)] });
    this.beta.draw(beta, { x: [0, 1], y: [0, Math.max(...values(beta))] });
    const centres = Array.from({ length: 71 }, (_, i) => (i / 35 - 1) * LIMIT);
    const normal = { kind: "normal", x: centres, y: centres.map((x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) };
    const empty = paths.map(({ kind }) => ({ kind: `${kind} steps`, x: [], y: [] }));
    this.histogram.draw([normal, ...empty], { x: [-LIMIT, LIMIT], y: [0, 1] });
  }

  /** Move the marks to u: each of the paths is at its level `i`, and has `x`, of standard deviation `norm`. */
  mark(u, paths) {
    const at = (name) => paths.map(({ levels, i }) => levels[name][i]);
    const clamp = (y) => (y === null ? null : Math.min(POWER, Math.max(-POWER, y / Math.LN10)));
    this.alpha_bar.mark(u, at("alpha_bar"), at("alpha_bar").map(digits).join("   "));
    this.logsnr.mark(u, at("logsnr").map(clamp), at("logsnr").map((y) => digits(y === null ? null : Math.exp(y))).join("   "));
    this.beta.mark(u, at("beta"), at("beta").map(digits).join("   "));
    this.histogram.say(paths.some(({ norm }) => Math.abs(norm - 1) > 1e-6) ? "÷ √(α² + σ²)" : "");
    paths.forEach(({ x, norm }, i) => this.histogram.redraw(i + 1, ...this.steps(histogram(x, norm, LIMIT, this.counts ??= new Float64Array(BINS)), x.length)));
  }

  /** The outline of a histogram, as a density. */
  steps(counts, n) {
    const width = (2 * LIMIT) / BINS;
    const [x, y] = [[], []];
    counts.forEach((count, bin) => {
      const height = Math.min(1, count / n / width); // a bar that is higher is cut
      x.push(bin * width - LIMIT, (bin + 1) * width - LIMIT);
      y.push(height, height);
    });
    return [x, y];
  }
}
