// Sample grids along training, always of the same seeds: a slider goes through them, for several runs at once.

import { file } from "./api.js";
import { el } from "./dom.js";

const [FRAME, CACHED] = [280, 120]; // milliseconds of a grid that plays; grids that are held in memory
const TALLEST = 0.66; // of the height of the window

export class Grids {
  constructor() {
    this.cache = new Map();
    [this.runs, this.moments, this.following] = [[], [], true];
    this.slider = el("input", { type: "range", min: 0, "aria-label": "Sample grids along training", oninput: () => this.move(Number(this.slider.value)) });
    this.button = el("button", { class: "play", "aria-label": "Play", title: "Play (space)", onclick: () => this.play() }, "▶");
    this.where = el("p", { class: "where" });
    this.images = el("div", { class: "learnt" });
    this.empty = el("p", { class: "hint" });
    this.level = el("div", { class: "level" }, this.button, this.slider);
    this.node = el("section", {}, el("h2", {}, "Watch it learn: samples of the same seeds"), this.empty, this.level, this.where, this.images);
  }

  end() {
    clearInterval(this.timer);
    for (const url of this.cache.values()) url.then((one) => URL.revokeObjectURL(one), () => {});
  }

  /** Show the grids of runs; `live` is whether more may come. */
  draw(runs, live) {
    this.empty.textContent = live ? "The first sample grid appears here when the run has made it." : "No sample grid was made in this run.";
    const before = this.moments.length;
    this.runs = runs.filter(({ grids }) => grids.length);
    this.moments = [...new Set(this.runs.flatMap(({ grids }) => grids))].sort((a, b) => moment(a) - moment(b));
    this.empty.hidden = this.moments.length > 0;
    this.level.hidden = this.moments.length < 2;
    this.slider.max = Math.max(0, this.moments.length - 1);
    if (this.following || before === 0) this.index = this.moments.length - 1;
    this.move(Math.min(this.index, this.moments.length - 1), false);
  }

  /** Show the grids of a moment: of each run the last one until then. */
  move(index, byHand = true) {
    if (!this.moments.length) {
      this.images.replaceChildren();
      this.where.textContent = "";
      return;
    }
    if (byHand) this.following = index === this.moments.length - 1; // at the end the next grid is shown when it comes
    this.index = this.slider.value = index;
    const until = moment(this.moments[index]);
    this.where.textContent = inWords(until);
    this.runs.forEach((run, i) => this.show(i, run, [...run.grids].reverse().find((name) => moment(name) <= until) ?? run.grids[0]));
    while (this.images.children.length > this.runs.length) this.images.lastElementChild.remove();
  }

  async show(i, { name, label, kind, next }, grid) {
    const figure = this.images.children[i] ?? this.images.appendChild(el("figure", {}, el("img", { class: "pixels" }), el("figcaption")));
    figure.className = kind;
    const [image, caption] = figure.children;
    caption.textContent = this.runs.length > 1 ? label : "";
    const key = `${name} ${grid}${grid === "preview" ? next : ""}`; // the file of a preview is replaced
    if (image.dataset.key === key) return;
    image.dataset.key = key;
    try {
      const url = await this.load(key, name, grid);
      if (image.dataset.key !== key) return;
      image.src = url;
      image.alt = `Samples of ${label}, ${inWords(moment(grid))}`;
      await image.decode();
      this.fit(image);
    } catch (error) {
      if (image.dataset.key === key) caption.textContent = error.message;
      this.cache.delete(key);
    }
  }

  load(key, run, name) {
    if (!this.cache.has(key)) {
      this.cache.set(key, file(`api/grid?${new URLSearchParams({ run, name })}`).then((blob) => URL.createObjectURL(blob)));
      if (this.cache.size > CACHED) this.forget(this.cache.keys().next().value);
    }
    return this.cache.get(key);
  }

  forget(key) {
    this.cache.get(key).then((url) => URL.revokeObjectURL(url), () => {});
    this.cache.delete(key);
  }

  /** Every pixel of a grid is as wide as the others, where there is room for it; a tall grid fits the window. */
  fit(image) {
    const { naturalWidth: width, naturalHeight: height } = image;
    const room = Math.min(image.parentNode.clientWidth / width, (TALLEST * innerHeight) / height);
    image.style.width = `${Math.round((room >= 1 ? Math.floor(room) : room) * width)}px`;
    image.classList.toggle("pixels", room >= 1);
  }

  step(by) {
    if (this.moments.length) this.move(Math.max(0, Math.min(this.moments.length - 1, this.index + by)));
  }

  /** Play from the first grid to the last, or pause. */
  play() {
    if (this.moments.length < 2) return;
    const on = !this.timer;
    clearInterval(this.timer);
    this.timer = undefined;
    this.button.textContent = on ? "❚❚" : "▶";
    this.button.setAttribute("aria-label", on ? "Pause" : "Play");
    if (!on) return;
    if (this.index === this.moments.length - 1) this.move(0);
    this.timer = setInterval(() => (this.index < this.moments.length - 1 ? this.step(1) : this.play()), FRAME);
  }
}

/** The images seen at a grid; a preview is the newest. */
function moment(grid) {
  return grid === "preview" ? Infinity : Number(grid);
}

/** When a grid was made: after 6,400 images. */
function inWords(images) {
  return images === Infinity ? "a preview" : `after ${images.toLocaleString("en")} images`;
}
