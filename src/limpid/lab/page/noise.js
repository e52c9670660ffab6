// The view Noise: an image, its noise, and a level that moves. x is computed here, from x0 and eps sent once.

import { ask, decode } from "./api.js";
import { short } from "./chart.js";
import { addNoise, nearest, toPixels } from "./diffusion.js";
import { el, state } from "./dom.js";
import { form } from "./form.js";
import { formula, inWords } from "./formula.js";
import { pixelCanvas } from "./images.js";
import { NoiseCharts } from "./noise_charts.js";
import { NoiseImage } from "./noise_image.js";
import { Player } from "./player.js";

export const keys = [
  ["← →", "move t by one step (on the slider)"],
  ["Space", "play: from the image to noise and back"],
  ["r", "another image"],
  ["n", "other noise"],
];

const STEPS = 1000; // positions of the slider
const SECONDS = 8; // that playing takes from the image to noise
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
    addEventListener("pagehide", () => this.keep(), { signal: this.abort.signal });
  }

  /** Keep what is chosen for a reload, and for coming back from another view. */
  keep() {
    sessionStorage.setItem(STORE, JSON.stringify(this.chosen));
  }

  async begin() {
    this.main.replaceChildren(state("loading", "Loading images and schedules …"));
    try {
      const { sources, schema, schedule } = await ask("noise/form", {}, this.abort.signal);
      Object.assign(this, { sources, schema });
      if (!sources.includes(this.chosen.source)) [this.chosen.source, this.chosen.index] = [sources[0], 0];
      if (!this.chosen.schedules.length) this.chosen.schedules = [schedule];
    } catch (error) {
      if (error.name === "AbortError") return;
      const again = el("button", { onclick: () => this.begin() }, "Try again");
      this.main.replaceChildren(state("failed", error.message, again));
      return;
    }
    this.build();
    document.addEventListener("keydown", this.onKey, { signal: this.abort.signal });
    await this.image.open();
  }

  end() {
    this.keep();
    this.abort.abort();
    cancelAnimationFrame(this.request);
    this.player?.stop();
  }

  onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]), select, dialog")) return;
    if (event.key === "r") this.image.otherImage();
    else if (event.key === "n") this.image.otherNoise();
    else if (event.key === " " && !event.target.closest("button, summary")) this.player.toggle();
    else return;
    event.preventDefault();
  };

  build() {
    const { chosen } = this;
    this.image = new NoiseImage(this.sources, chosen, this.abort.signal, (reading) => this.openData(reading), (x0, eps) => this.setImage(x0, eps));
    this.forms = el("div", {});
    this.second = el("input", { type: "checkbox", onchange: () => this.setSecond(this.second.checked) });
    this.figures = el("div", { class: "figures" });
    this.formulas = el("div", { class: "formulas", "aria-live": "off" });
    this.slider = el("input", {
      type: "range", min: 0, max: STEPS, step: 1, "aria-label": "Noise level u in thousandths, from the image to noise",
      oninput: () => this.move(this.slider.value / STEPS, true),
    });
    this.player = new Player(SECONDS, () => chosen.u, (u) => this.move(u));
    this.where = el("p", { class: "where" });
    this.charts = new NoiseCharts();
    this.main.replaceChildren(
      el("aside", { "aria-label": "Images and schedules" },
        this.image.node,
        el("section", {},
          el("div", { class: "heading" }, el("h2", {}, "Schedule"), el("label", { class: "field check" }, this.second, el("span", {}, "two"))),
          this.forms)),
      el("div", { class: "stage" },
        this.figures,
        el("div", { class: "level" }, this.player.button, this.slider),
        this.where,
        this.formulas,
        this.charts.node),
    );
    this.second.checked = chosen.schedules.length > 1;
    this.slider.value = chosen.u * STEPS;
  }

  /** Show another data set once it is read. */
  async openData(reading) {
    this.figures.replaceChildren(state("loading", `Reading ${this.chosen.source} …`));
    try {
      if (await reading) await this.setSchedules();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.figures.replaceChildren(state("failed", error.message, el("button", { onclick: () => this.image.open() }, "Try again")));
    }
  }

  /** Show these schedules; each has two figures, a formula, and a curve in every chart. */
  async setSchedules() {
    const { data } = this.image;
    if (!data) return; // `openData` comes here again when the images are read
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
    this.clean = pixelCanvas(data.shape, "The image");
    shown.prepend(this.clean.canvas);
    this.figures.replaceChildren(shown, ...this.paths.flatMap((path) => path.figures));
    this.figures.dataset.count = 1 + 2 * this.paths.length;
    await Promise.all(this.paths.map((path, i) => this.loadLevels(path, schedules[i])));
    await this.image.choose({});
  }

  canvases(i) {
    const name = this.chosen.schedules.length > 1 ? ` ${NAMES[i].toUpperCase()}` : "";
    const noisy = pixelCanvas(this.image.data.shape, `The image with noise${name}`);
    const denoised = pixelCanvas(this.image.data.shape, `What the exact denoiser sees${name}`);
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
    const request = (path.request = {}); // of several changes only the last is shown
    const levels = await ask("noise/levels", { schedule: value }, this.abort.signal).catch((error) => error);
    if (path.request !== request || levels.name === "AbortError") return;
    path.form.show(levels instanceof Error ? levels.message : "");
    if (levels instanceof Error) return;
    path.levels = levels;
    this.chosen.schedules[i] = value;
    this.charts.draw(this.paths.filter(({ levels }) => levels));
    this.move(this.chosen.u);
  }

  setSecond(on) {
    const [first, second = { kind: "Cosine" }] = this.chosen.schedules;
    this.chosen.schedules = on ? [first, second] : [first];
    this.setSchedules();
  }

  /** Show another image and noise, at the level that is shown. */
  setImage(x0, eps) {
    Object.assign(this, { x0, eps });
    const n = x0.length;
    for (const path of this.paths) Object.assign(path, { x: new Float32Array(n), pixels: new Uint8ClampedArray(n) });
    this.clean.paint(toPixels(x0, 1, new Uint8ClampedArray(n)));
    this.charts.draw(this.paths.filter(({ levels }) => levels));
    this.move(this.chosen.u);
  }

  /** Go to the level at u; with `byHand` playing stops. */
  move(u, byHand = false) {
    if (byHand) this.player.stop();
    this.chosen.u = u;
    if (!byHand) this.slider.value = Math.round(u * STEPS);
    if (!this.dirty) this.request = requestAnimationFrame(() => this.paint());
    this.dirty = true;
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
      path.norm = Math.hypot(alpha, sigma); // 1 on a variance-preserving path; elsewhere it keeps x in range
      addNoise(this.x0, this.eps, alpha, sigma, path.x);
      path.noisy.paint(toPixels(path.x, path.norm, path.pixels));
    }
    this.where.textContent = inWords(this.chosen.u, ready);
    this.formulas.replaceChildren(...ready.map(formula));
    this.charts.mark(this.chosen.u, ready);
    this.denoise();
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
