// The image to edit or to search: one of the training data of a model, one of the last samples, or a file.

import { ask, decode, file } from "./api.js";
import { el, numberField, withDice } from "./dom.js";
import { pixelCanvas } from "./images.js";
import { arrowKeys } from "./keyboard.js";

const MAX_SAMPLES = 96; // of the last samples, how many are offered
const SOURCES = { training: "training data", samples: "last samples", file: "a file" };

export class ImageSource {
  /** `onChoose({ pixels, index, name })` is called with an image that fits the model; pixels are base64. */
  constructor(onChoose, signal, kind = "training") {
    [this.onChoose, this.signal] = [onChoose, signal];
    this.kind = el("select", { "aria-label": "Image from", onchange: () => this.show() },
      ...Object.entries(SOURCES).map(([value, text]) => el("option", { value, selected: value === kind }, text)));
    this.thumbnails = arrowKeys(el("div", { class: "thumbnails scroll", role: "group", "aria-label": "Images" }));
    this.index = numberField("Image", 0, () => {});
    this.index.onchange = () => this.chooseIndex(this.index.value);
    this.indexRow = withDice(this.index, "Another image", () => this.chooseIndex(Math.floor(Math.random() * this.count)));
    this.picker = el("input", { type: "file", hidden: true, accept: "image/*,.tif,.tiff", onchange: () => this.take(this.picker.files[0]) });
    this.drop = el("button", { class: "drop", onclick: () => this.picker.click() }, "Choose a file, or drop it on this page");
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.hint = el("p", { class: "hint" });
    this.node = el("section", {}, el("h2", {}, "Image"), this.kind, this.thumbnails, this.indexRow, this.drop, this.picker, this.hint, this.error);
    this.close();
    document.addEventListener("dragover", (event) => event.preventDefault(), { signal });
    document.addEventListener("drop", (event) => this.onDrop(event), { signal });
  }

  /** Offer nothing until the next model is opened. */
  close() {
    this.opened = new Promise((resolve) => (this.begin = resolve)); // a file may be dropped before the model is known
    this.model = this.begun = null;
    for (const node of [this.thumbnails, this.indexRow, this.drop]) node.hidden = true;
    this.hint.textContent = "Opening the model …";
    this.showError("");
  }

  /** Offer images for another model; the first one is chosen unless `keep`. */
  async open(model, shape, keep) {
    Object.assign(this, { model, shape, count: 0, training: null });
    this.begin();
    const begun = (this.begun = {});
    try {
      const training = await ask("edit/images", model, this.signal);
      if (this.begun !== begun) return;
      Object.assign(this, { training, count: training.count });
    } catch (error) {
      if (error.name === "AbortError" || this.begun !== begun) return;
      this.reason = error.message;
      if (this.kind.value === "training") this.kind.value = this.job ? "samples" : "file";
    }
    this.show();
    if (!keep && this.training) this.choose({ pixels: this.training.pixels[0], index: 0, name: this.training.names[0] });
  }

  /** The samples of a job are those that are offered from now on. */
  setJob(job) {
    if (job.id === this.job?.id) return;
    this.job = job;
    if (this.kind.value === "samples") this.show();
  }

  show() {
    const kind = this.kind.value;
    if (!this.model) return;
    this.showError("");
    this.indexRow.hidden = kind !== "training" || !this.training;
    this.drop.hidden = kind !== "file";
    this.thumbnails.hidden = kind === "file";
    this.thumbnails.replaceChildren();
    this.hint.textContent = "";
    if (kind === "training" && this.training) this.showTraining();
    else if (kind === "training") this.hint.textContent = this.reason ?? "Reading the data set …";
    else if (kind === "samples" && this.job) this.showSamples();
    else if (kind === "samples") this.hint.textContent = "No samples yet: generate some in the view Sample.";
    else this.hint.textContent = `It is cropped and resized to ${this.shape[2]}×${this.shape[1]} pixels, as images of a data set are.`;
  }

  showTraining() {
    const { pixels, names } = this.training;
    this.thumbnails.replaceChildren(...pixels.map((one, index) => {
      const { canvas, paint } = pixelCanvas(this.shape, names[index]);
      paint(decode(one));
      return el("button", { title: names[index], onclick: () => this.choose({ pixels: one, index, name: names[index] }) }, canvas);
    }));
  }

  async showSamples() {
    const { job } = this;
    const [, height, width] = job.result.shape;
    for (const [setting, { frames }] of job.result.settings.entries()) {
      let atlas;
      try {
        atlas = await createImageBitmap(await file(`api/jobs/${job.id}/${setting}/atlas.png`));
      } catch (error) {
        this.showError(error.message);
        return;
      }
      if (this.job !== job || this.kind.value !== "samples") return;
      for (let i = 0; i < job.result.n && this.thumbnails.children.length < MAX_SAMPLES; i++) {
        const name = `seed ${job.parameters.seed + i}`;
        const canvas = el("canvas", { class: "pixels", role: "img", "aria-label": name, width, height });
        canvas.getContext("2d").drawImage(atlas, (frames.length - 1) * width, 2 * i * height, width, height, 0, 0, width, height);
        const choose = () => canvas.toBlob((blob) => this.take(blob, `sample of ${name}`));
        this.thumbnails.append(el("button", { title: name, onclick: choose }, canvas));
      }
    }
  }

  async chooseIndex(text) {
    const index = /^\d+$/.test(`${text}`.trim()) ? Number(text) : text;
    try {
      const { pixels, name } = await ask("edit/image", { model: this.model, index }, this.signal);
      this.choose({ pixels, index, name });
    } catch (error) {
      this.showError(error.message);
    }
  }

  onDrop(event) {
    event.preventDefault();
    const [dropped] = event.dataTransfer.files;
    if (!dropped) return;
    this.kind.value = "file";
    this.show();
    this.take(dropped);
  }

  /** Take a file or Blob: the server fits it to the model, as it fits images of a data set. */
  async take(blob, name = blob?.name) {
    if (!blob) return;
    await this.opened;
    try {
      const content = await base64(blob);
      const { pixels } = await ask("edit/file", { model: this.model, content }, this.signal);
      this.choose({ pixels, index: null, name });
    } catch (error) {
      this.showError(error.message);
    }
  }

  choose(image) {
    this.showError("");
    if (image.index !== null) this.index.value = image.index;
    if (this.kind.value === "training") [...this.thumbnails.children].forEach((one, i) => one.setAttribute("aria-pressed", `${i === image.index}`));
    this.onChoose(image);
  }

  showError(message) {
    this.error.hidden = !message;
    this.error.textContent = message.replace("request.", "");
  }
}

/** The bytes of a Blob as base64. */
function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] ?? "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
