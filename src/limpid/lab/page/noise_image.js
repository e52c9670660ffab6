// The image of the view Noise and its noise: a data set, an image of it, and a seed.

import { ask, decode } from "./api.js";
import { el, numberField, withDice } from "./dom.js";
import { pixelCanvas } from "./images.js";
import { arrowKeys } from "./keyboard.js";

export class NoiseImage {
  /** `chosen` holds source, index and seed. `onData(data)` is called with another data set, `onImage(x0, eps)` with another image or noise. */
  constructor(sources, chosen, signal, onData, onImage) {
    Object.assign(this, { chosen, signal, onData, onImage, pending: {} });
    this.source = el("select", { "aria-label": "Data set", onchange: () => this.open(this.source.value) },
      ...sources.map((name) => el("option", { selected: name === chosen.source }, name)));
    this.thumbnails = arrowKeys(el("div", { class: "thumbnails", role: "group", "aria-label": "Images" }));
    [this.index, this.seed] = [numberField("Image", chosen.index, () => {}), numberField("Noise seed", chosen.seed, () => {})];
    this.index.onchange = () => this.choose({ index: this.index.value });
    this.seed.onchange = () => this.choose({ seed: this.seed.value });
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.node = el("section", {}, el("h2", {}, "Image"), this.source, this.thumbnails,
      withDice(this.index, "Another image (r)", () => this.otherImage()),
      withDice(this.seed, "Other noise (n)", () => this.otherNoise()), this.error);
  }

  /** Read a data set. Throws an Error with the server's line; one that is opened later wins. */
  async open(name = this.chosen.source) {
    const index = name === this.chosen.source ? this.chosen.index : 0;
    Object.assign(this.chosen, { source: name, index });
    this.pending = {};
    await this.onData(ask("noise/images", { source: name }, this.signal).then((data) => {
      if (name !== this.chosen.source) return null; // another one was chosen meanwhile
      this.data = data;
      this.showThumbnails();
      return data;
    }));
  }

  showThumbnails() {
    const { shape, thumbnails, labels, classes } = this.data;
    const [bytes, size] = [decode(thumbnails), shape[0] * shape[1] * shape[2]];
    this.thumbnails.replaceChildren(...Array.from({ length: bytes.length / size }, (_, i) => {
      const title = classes[labels[i]] ?? `image ${i}`;
      const { canvas, paint } = pixelCanvas(shape, title);
      paint(bytes.subarray(i * size, (i + 1) * size));
      return el("button", { title, onclick: () => this.choose({ index: i }) }, canvas);
    }));
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
    const begun = (this.begun = {});
    try {
      const { x0, eps } = await ask("noise/image", { source: this.chosen.source, ...wanted }, this.signal);
      if (this.begun !== begun) return;
      this.show(wanted);
      this.onImage(decode(x0, Float32Array), decode(eps, Float32Array));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (this.begun === begun) this.pending = {};
      this.showError(error.message);
    }
  }

  show(wanted) {
    this.showError("");
    this.pending = {};
    Object.assign(this.chosen, wanted);
    [this.index.value, this.seed.value] = [wanted.index, wanted.seed];
    [...this.thumbnails.children].forEach((node, i) => node.setAttribute("aria-pressed", `${i === wanted.index}`));
  }

  showError(message) {
    this.error.hidden = !message;
    this.error.textContent = message.replace("request.", "");
  }
}
