// The trajectories of a job in a dialog: x and the predicted x0, scrubbed along the steps without a request.

import { short } from "./chart.js";
import { el } from "./dom.js";

const LETTERS = ["A", "B", "C"]; // the names of the settings

export class Trajectory {
  /** `atlases` has one ImageBitmap for each setting: for each sample a row of x and one of x0, along the frames. */
  constructor(job, atlases) {
    [this.job, this.atlases] = [job, atlases];
    [, this.height, this.width] = job.result.shape;
    [this.index, this.position] = [0, 1];
  }

  canvas(label) {
    const canvas = el("canvas", { class: "pixels", role: "img", "aria-label": label });
    [canvas.width, canvas.height] = [this.width, this.height];
    return canvas;
  }

  draw(canvas, setting, row, frame) {
    const [w, h] = [this.width, this.height];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, w, h);
    context.drawImage(this.atlases[setting], frame * w, row * h, w, h, 0, 0, w, h);
  }

  /** A canvas with the sample of a setting: x of its last frame. */
  final(setting, index) {
    const canvas = this.canvas("");
    this.draw(canvas, setting, 2 * index, this.job.result.settings[setting].frames.length - 1);
    return canvas;
  }

  open(index) {
    this.index = index;
    this.dialog ??= this.build();
    this.show();
    this.dialog.showModal();
    this.slider.focus();
  }

  close() {
    this.dialog?.remove();
  }

  build() {
    const { settings } = this.job.result;
    this.title = el("h2", {});
    this.rows = settings.map((_, i) => {
      const letter = settings.length > 1 ? ` ${LETTERS[i]}` : "";
      const [x, x0, level] = [this.canvas(`x${letter}`), this.canvas(`Predicted x0${letter}`), el("span", {})];
      const figures = [
        el("figure", { class: LETTERS[i].toLowerCase() }, x, el("figcaption", {}, el("b", {}, `x${letter}`), " ", level)),
        el("figure", { class: LETTERS[i].toLowerCase() }, x0, el("figcaption", {}, el("b", {}, `x₀${letter}`), " predicted from it")),
      ];
      return { x, x0, level, figures };
    });
    const longest = Math.max(...settings.map(({ frames }) => frames.length));
    this.slider = el("input", { type: "range", min: 0, max: longest - 1, "aria-label": "Step, from noise to the sample", oninput: () => this.move(this.slider.value / (longest - 1)) });
    this.slider.value = longest - 1;
    const figures = el("div", { class: "figures", "data-count": 2 * settings.length }, ...this.rows.flatMap((row) => row.figures));
    const other = (step, text, label) => el("button", { "aria-label": label, title: label, onclick: () => this.go(step) }, text);
    const dialog = el("dialog", { class: "trajectory", "aria-label": "Trajectory" },
      el("div", { class: "heading" }, this.title,
        el("div", {}, other(-1, "↑", "The image before"), other(1, "↓", "The image after"),
          el("button", { "aria-label": "Close", onclick: () => dialog.close() }, "✕"))),
      figures, el("div", { class: "level" }, el("span", {}, "noise"), this.slider, el("span", {}, "sample")));
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (step) this.go(step);
      else if (event.target !== this.slider && event.key === "ArrowLeft") this.move(this.position - 1 / (longest - 1), true);
      else if (event.target !== this.slider && event.key === "ArrowRight") this.move(this.position + 1 / (longest - 1), true);
      else return;
      event.preventDefault();
    });
    document.body.append(dialog);
    return dialog;
  }

  go(step) {
    const { n } = this.job.result;
    this.index = (this.index + step + n) % n;
    this.show();
  }

  move(position, setSlider = false) {
    this.position = Math.min(1, Math.max(0, position));
    if (setSlider) this.slider.value = this.position * this.slider.max;
    this.show();
  }

  show() {
    const { labels, settings } = this.job.result;
    const label = labels.length ? `, ${labels[this.index]}` : "";
    this.title.textContent = `Seed ${this.job.parameters.seed + this.index}${label}`;
    this.rows.forEach(({ x, x0, level }, i) => {
      const { frames } = settings[i];
      const frame = Math.round(this.position * (frames.length - 1));
      this.draw(x, i, 2 * this.index, frame);
      this.draw(x0, i, 2 * this.index + 1, frame);
      const { alpha, sigma } = frames[frame];
      level.textContent = sigma === 0 ? "the sample" : `at σ/α = ${short(alpha === 0 ? Infinity : Number((sigma / alpha).toPrecision(3)))}`;
    });
  }
}
