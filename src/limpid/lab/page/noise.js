// The view Noise: an image, its noise, and a level that moves. x is computed here, from x0 and eps sent once.

import { ask, decode } from "./api.js";
import { chart, short } from "./chart.js";
import { addNoise, histogram, toPixels } from "./diffusion.js";
import { el, state } from "./dom.js";
import { form } from "./form.js";
import { pixelCanvas } from "./images.js";

export const keys = [
  ["← →", "move t by one step (on the slider)"],
  ["Space", "play: from the image to noise and back"],
  ["r", "another image"],
  ["n", "other noise"],
];

const STEPS = 1000; // positions of the slider
const SECONDS = 8; // that playing takes from the image to noise
const [LIMIT, BINS] = [3.5, 48]; // of the histogram
const NAMES = ["a", "b"];
const STORE = "limpid-noise";

export function mount(main) {
  const view = new Noise(main);
  view.begin();
  return () => view.end();
}

class Noise {
  constructor(main) {
    this.main = main;
    this.chosen = { source: "", index: 0, seed: 0, u: 0.3, schedules: [], ...JSON.parse(sessionStorage.getItem(STORE) ?? "{}") };
    this.paths = []; // per schedule: its levels, canvases and arrays
    this.abort = new AbortController();
    this.dirty = false;
    this.playing = 0;
    addEventListener("pagehide", () => this.keep(), { signal: this.abort.signal });
  }

  /** Keep what is chosen for a reload, and for coming back from another view. */
  keep() {
    sessionStorage.setItem(STORE, JSON.stringify(this.chosen));
  }

  async begin() {
    this.main.replaceChildren(state("loading", "Loading images and schedules …"));
    try {
      const { sources, schema, schedule } = await ask("noise/form");
      Object.assign(this, { sources, schema });
      if (!sources.includes(this.chosen.source)) [this.chosen.source, this.chosen.index] = [sources[0], 0];
      if (!this.chosen.schedules.length) this.chosen.schedules = [schedule];
    } catch (error) {
      const again = el("button", { onclick: () => this.begin() }, "Try again");
      this.main.replaceChildren(state("failed", error.message, again));
      return;
    }
    this.build();
    document.addEventListener("keydown", this.onKey, { signal: this.abort.signal });
    await this.openSource();
  }

  end() {
    this.keep();
    this.abort.abort();
    cancelAnimationFrame(this.request);
    this.playing = 0;
  }

  onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]), select, dialog")) return;
    if (event.key === "r") this.otherImage();
    else if (event.key === "n") this.otherNoise();
    else if (event.key === " " && !event.target.closest("button, summary")) this.play();
    else return;
    event.preventDefault();
  };

  build() {
    const { chosen } = this;
    this.source = el("select", { "aria-label": "Data set", onchange: () => this.openSource(this.source.value) },
      ...this.sources.map((name) => el("option", { selected: name === chosen.source }, name)));
    this.thumbnails = el("div", { class: "thumbnails", role: "group", "aria-label": "Images" });
    this.index = this.number("Image", () => this.choose({ index: this.index.value }));
    this.seed = this.number("Noise seed", () => this.choose({ seed: this.seed.value }));
    this.imageError = el("p", { class: "error", role: "alert", hidden: true });
    this.forms = el("div", {});
    this.second = el("input", { type: "checkbox", onchange: () => this.setSecond(this.second.checked) });
    this.figures = el("div", { class: "figures" });
    this.formulas = el("div", { class: "formulas", "aria-live": "off" });
    this.slider = el("input", {
      type: "range", min: 0, max: STEPS, step: 1, "aria-label": "Noise level u in thousandths, from the image to noise",
      oninput: () => this.move(this.slider.value / STEPS, true),
    });
    this.playButton = el("button", { class: "play", "aria-label": "Play", onclick: () => this.play() }, "▶");
    this.where = el("p", { class: "where" });
    this.charts = {
      alpha_bar: chart("ᾱ  signal"),
      logsnr: chart("SNR", { powers: true }),
      beta: chart("β of a step"),
      histogram: chart("values of x", { axis: "" }),
    };
    this.main.replaceChildren(
      el("aside", { "aria-label": "Images and schedules" },
        el("section", {}, el("h2", {}, "Image"), this.source, this.thumbnails,
          el("div", { class: "pair" }, this.index.parentNode, el("button", { title: "Another image (r)", "aria-label": "Another image", onclick: () => this.otherImage() }, "⚄")),
          el("div", { class: "pair" }, this.seed.parentNode, el("button", { title: "Other noise (n)", "aria-label": "Other noise", onclick: () => this.otherNoise() }, "⚄")),
          this.imageError),
        el("section", {},
          el("div", { class: "heading" }, el("h2", {}, "Schedule"), el("label", { class: "field check" }, this.second, el("span", {}, "two"))),
          this.forms)),
      el("div", { class: "stage" },
        this.figures,
        el("div", { class: "level" }, this.playButton, this.slider),
        this.where,
        this.formulas,
        el("div", { class: "charts" }, ...Object.values(this.charts).map(({ node }) => node))),
    );
    this.second.checked = chosen.schedules.length > 1;
    this.slider.value = chosen.u * STEPS;
  }

  number(label, onchange) {
    const input = el("input", { type: "text", inputmode: "numeric", autocomplete: "off", onchange });
    el("label", { class: "field" }, el("span", {}, label), input);
    return input;
  }

  async openSource(name = this.chosen.source) {
    const index = name === this.chosen.source ? this.chosen.index : 0;
    Object.assign(this.chosen, { source: name, index });
    this.pending = {};
    this.figures.replaceChildren(state("loading", `Reading ${name} …`));
    try {
      this.data = await ask("noise/images", { source: name }, this.abort.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.figures.replaceChildren(state("failed", error.message, el("button", { onclick: () => this.openSource() }, "Try again")));
      return;
    }
    if (name !== this.chosen.source) return; // another one was chosen meanwhile
    const { shape, thumbnails, labels, classes } = this.data;
    const [bytes, size] = [decode(thumbnails), shape[0] * shape[1] * shape[2]];
    this.thumbnails.replaceChildren(...Array.from({ length: bytes.length / size }, (_, i) => {
      const title = classes[labels[i]] ?? `image ${i}`;
      const { canvas, paint } = pixelCanvas(shape, title);
      paint(bytes.subarray(i * size, (i + 1) * size));
      return el("button", { title, onclick: () => this.choose({ index: i }) }, canvas);
    }));
    await this.setSchedules();
  }

  /** Show these schedules; each has two figures, a formula, and a curve in every chart. */
  async setSchedules() {
    if (!this.data) return; // `openSource` comes here again when the images are read
    const { schedules } = this.chosen;
    this.forms.replaceChildren();
    this.paths = schedules.map((schedule, i) => {
      const path = { kind: NAMES[i], x: null, levels: null, ...this.canvases(i) };
      path.form = form(this.schema, schedule, (value) => this.setSchedule(i, value), schedules.length > 1 ? `kind ${NAMES[i].toUpperCase()}` : "kind");
      path.form.node.classList.add(path.kind);
      this.forms.append(path.form.node);
      return path;
    });
    const shown = el("figure", { class: "clean" }, el("figcaption", {}, el("b", {}, "x₀"), " the image"));
    this.clean = pixelCanvas(this.data.shape, "The image");
    shown.prepend(this.clean.canvas);
    this.figures.replaceChildren(shown, ...this.paths.flatMap((path) => path.figures));
    this.figures.dataset.count = 1 + 2 * this.paths.length;
    await Promise.all(this.paths.map((path, i) => this.loadLevels(path, schedules[i])));
    await this.choose({});
  }

  canvases(i) {
    const name = this.chosen.schedules.length > 1 ? ` ${NAMES[i].toUpperCase()}` : "";
    const noisy = pixelCanvas(this.data.shape, `The image with noise${name}`);
    const denoised = pixelCanvas(this.data.shape, `What the exact denoiser sees${name}`);
    const points = el("span", {}, "…");
    const figures = [
      el("figure", { class: NAMES[i] }, noisy.canvas, el("figcaption", {}, el("b", {}, "x"), ` with noise${name}`)),
      el("figure", { class: NAMES[i] }, denoised.canvas, el("figcaption", {}, el("b", {}, "E[x₀ | x]"), " ", points)),
    ];
    return { noisy, denoised, points, figures };
  }

  async loadLevels(path, schedule) {
    try {
      const levels = await ask("noise/levels", { schedule }, this.abort.signal);
      path.levels = levels;
      path.form.show("");
    } catch (error) {
      if (error.name !== "AbortError") path.form.show(error.message);
    }
  }

  async setSchedule(i, value) {
    const path = this.paths[i];
    const asked = (path.asked = {}); // of several changes only the last is shown
    const levels = await ask("noise/levels", { schedule: value }, this.abort.signal).catch((error) => error);
    if (path.asked !== asked || levels.name === "AbortError") return;
    path.form.show(levels instanceof Error ? levels.message : "");
    if (levels instanceof Error) return;
    path.levels = levels;
    this.chosen.schedules[i] = value;
    this.drawCharts();
    this.move(this.chosen.u);
  }

  setSecond(on) {
    const [first, second = { kind: "Cosine" }] = this.chosen.schedules;
    this.chosen.schedules = on ? [first, second] : [first];
    this.setSchedules();
  }

  otherImage() {
    if (this.data) this.choose({ index: Math.floor(Math.random() * this.data.count) });
  }

  otherNoise() {
    this.choose({ seed: Math.floor(Math.random() * 1e6) });
  }

  /** Show another image or other noise: x0 and eps are sent once, for all levels. */
  async choose(change) {
    if (!this.data) return void Object.assign(this.chosen, change); // shown when the images are read
    const wanted = { index: this.chosen.index, seed: this.chosen.seed, ...this.pending, ...change };
    for (const name of ["index", "seed"]) {
      const text = `${wanted[name]}`.trim();
      wanted[name] = /^-?\d+$/.test(text) ? Number(text) : text;
    }
    this.pending = wanted; // a change that comes before the answer is added to this one
    const asked = (this.asked = {});
    try {
      const { x0, eps } = await ask("noise/image", { source: this.chosen.source, ...wanted }, this.abort.signal);
      if (this.asked !== asked) return;
      [this.x0, this.eps] = [decode(x0, Float32Array), decode(eps, Float32Array)];
    } catch (error) {
      if (error.name === "AbortError") return;
      if (this.asked === asked) this.pending = {};
      this.imageError.hidden = false;
      this.imageError.textContent = error.message.replace("request.", "");
      return;
    }
    this.imageError.hidden = true;
    this.pending = {};
    Object.assign(this.chosen, wanted);
    [this.index.value, this.seed.value] = [wanted.index, wanted.seed];
    [...this.thumbnails.children].forEach((node, i) => node.setAttribute("aria-pressed", `${i === wanted.index}`));
    const n = this.x0.length;
    for (const path of this.paths) Object.assign(path, { x: new Float32Array(n), pixels: new Uint8ClampedArray(n), counts: new Float64Array(BINS) });
    this.clean.paint(toPixels(this.x0, 1, new Uint8ClampedArray(n)));
    this.drawCharts();
    this.move(this.chosen.u);
  }

  /** Go to the level at u; with `byHand` playing stops. */
  move(u, byHand = false) {
    if (byHand && this.playing) this.play();
    this.chosen.u = u;
    if (!byHand) this.slider.value = Math.round(u * STEPS);
    if (!this.dirty) this.request = requestAnimationFrame(() => this.paint());
    this.dirty = true;
  }

  play() {
    const on = !this.playing;
    this.playing = on ? performance.now() : 0;
    this.playButton.textContent = on ? "❚❚" : "▶";
    this.playButton.setAttribute("aria-label", on ? "Pause" : "Play");
    if (!on) return;
    const from = this.chosen.u;
    const frame = (now) => {
      if (!this.playing) return;
      const phase = (from + Math.max(0, now - this.playing) / (1000 * SECONDS)) % 2;
      this.move(phase < 1 ? phase : 2 - phase);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** One frame: x of every schedule, its histogram, the marks and the numbers. */
  paint() {
    this.dirty = false;
    const ready = this.paths.filter((path) => path.levels && path.x);
    if (!ready.length || !this.x0) return;
    for (const path of ready) {
      const { levels } = path;
      const i = (path.i = nearest(levels.u, this.chosen.u));
      const [alpha, sigma] = [levels.alpha[i], levels.sigma[i]];
      const norm = Math.hypot(alpha, sigma); // 1 on a variance-preserving path; elsewhere it keeps x in range
      addNoise(this.x0, this.eps, alpha, sigma, path.x);
      path.scaled = Math.abs(norm - 1) > 1e-6;
      path.noisy.paint(toPixels(path.x, norm, path.pixels));
      histogram(path.x, norm, LIMIT, path.counts);
    }
    this.showNumbers(ready);
    this.moveMarks(ready);
    this.denoise();
  }

  showNumbers(paths) {
    const { u } = this.chosen;
    const steps = paths.map(({ levels, i }) => levels.T && `t = ${Math.ceil(levels.u[i] * levels.T - 1e-9)} of ${levels.T}`);
    this.where.textContent = [...new Set(steps.filter(Boolean)), `u = ${u.toFixed(3)}`].join("  ·  ");
    this.formulas.replaceChildren(...paths.map(({ kind, levels, i }) => {
      const [alpha, sigma, logsnr] = [levels.alpha[i], levels.sigma[i], levels.logsnr[i]];
      const snr = sigma === 0 ? Infinity : logsnr === null ? 0 : Math.exp(logsnr);
      return el("p", { class: kind },
        el("span", { class: "symbols" }, "x = α x₀ + σ ε"),
        el("span", { class: "numbers" }, " = ", el("b", {}, fixed(alpha)), " x₀ + ", el("b", {}, fixed(sigma)), " ε"),
        el("span", { class: "facts" }, ...[`ᾱ = ${fixed(levels.alpha_bar[i])}`, `SNR = ${short(snr)}`,
          `σ/α = ${short(alpha === 0 ? Infinity : sigma / alpha)}`].map((text) => el("span", {}, text))));
    }));
  }

  drawCharts() {
    const ready = this.paths.filter((path) => path.levels);
    const curves = (name, scale = 1) => ready.map(({ kind, levels }) => ({ kind, x: levels.u, y: levels[name].map((y) => y === null ? null : y * scale) }));
    const range = (list) => [Math.min(...list), Math.max(...list)];
    const snr = curves("logsnr", 1 / Math.LN10);
    const [low, high] = range(snr.flatMap(({ y }) => y.filter((one) => one !== null)));
    const beta = curves("beta");
    const most = Math.max(...beta.flatMap(({ y }) => y.filter((one) => one !== null)));
    this.charts.alpha_bar.draw(curves("alpha_bar"), { x: [0, 1], y: [0, 1] });
    this.charts.logsnr.draw(snr, { x: [0, 1], y: [Math.max(low, -8), Math.min(high, 8)] });
    this.charts.beta.draw(beta, { x: [0, 1], y: [0, most] });
    const centres = Array.from({ length: 71 }, (_, i) => (i / 35 - 1) * LIMIT);
    const normal = { kind: "normal", x: centres, y: centres.map((x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) };
    const empty = ready.map(({ kind }) => ({ kind: `${kind} steps`, x: [], y: [] }));
    this.charts.histogram.draw([normal, ...empty], { x: [-LIMIT, LIMIT], y: [0, 1] });
  }

  moveMarks(paths) {
    for (const [name, scale] of [["alpha_bar", 1], ["logsnr", 1 / Math.LN10], ["beta", 1]]) {
      const values = paths.map(({ levels, i }) => levels[name][i]);
      const text = values.map((y) => (name === "logsnr" ? (y === null ? "–" : short(Math.exp(y))) : short(y)));
      this.charts[name].mark(this.chosen.u, values.map((y) => y === null ? null : clampPower(name, y * scale)), text.join("   "));
    }
    this.charts.histogram.say(paths.some(({ scaled }) => scaled) ? "÷ √(α² + σ²)" : "");
    const width = (2 * LIMIT) / BINS;
    paths.forEach(({ counts, x: { length } }, i) => {
      const [x, y] = [[], []];
      counts.forEach((count, bin) => {
        const height = Math.min(1, count / length / width); // a bar that is higher is cut
        x.push(bin * width - LIMIT, (bin + 1) * width - LIMIT);
        y.push(height, height);
      });
      this.charts.histogram.redraw(i + 1, x, y);
    });
  }

  /** Ask for the exact denoiser's image at the level that is shown; one request at a time, the last wins. */
  async denoise() {
    if (this.denoising || this.abort.signal.aborted) return;
    this.denoising = true;
    let key;
    try {
      while (key !== (key = JSON.stringify([this.chosen, this.paths.map(({ i }) => i)])) && !this.abort.signal.aborted) {
        const { source, index, seed, schedules } = this.chosen;
        const paths = this.paths.filter((path) => path.levels && path.i !== undefined);
        const answers = await Promise.all(paths.map((path, i) => ask("noise/denoise",
          { image: { source, index, seed }, schedule: schedules[i], u: path.levels.u[path.i] }, this.abort.signal)));
        answers.forEach(({ pixels, points }, i) => {
          paths[i].denoised.paint(decode(pixels));
          paths[i].points.textContent = points < 1.05 ? "one image" : `a mean of ${short(Number(points.toPrecision(2)))} images`;
        });
      }
    } catch (error) {
      if (error.name !== "AbortError") for (const { points } of this.paths) points.textContent = error.message;
    } finally {
      this.denoising = false;
    }
  }
}

const fixed = (value) => (value !== 0 && value < 0.001 ? short(value) : value.toFixed(value < 10 ? 3 : 1));
const clampPower = (name, y) => (name === "logsnr" ? Math.min(8, Math.max(-8, y)) : y);

/** The index of the value nearest to `wanted` in a rising list. */
function nearest(values, wanted) {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted - 1e-9) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - values[low - 1] < values[low] - wanted ? low - 1 : low;
}
