// The view Edit: an image is sampled again from its noisy self, or in a part of it; or two seeds are interpolated.

import { ask, decode, encode, listen } from "./api.js";
import { el, state } from "./dom.js";
import { EditResult } from "./edit_result.js";
import { EditSettings, SETTINGS } from "./edit_settings.js";
import { modelOptions } from "./heads.js";
import { ImageSource } from "./image_source.js";
import { pixelCanvas } from "./images.js";
import { arrowKeys, onEnter } from "./keyboard.js";
import { Mask } from "./mask.js";
import { startJob, takeJob } from "./own_job.js";
import { JobProgress } from "./progress.js";

export const keys = [
  ["g", "generate"],
  ["r", "another seed"],
  ["e", "paint or erase"],
  ["← →", "between two seeds: from one to the other"],
  ["Space", "between two seeds: play"],
];

const EDITS = { img2img: "img2img", inpaint: "Inpaint", interpolate: "Two seeds" };
const STORE = "limpid-edit";
export function mount(main) {
  const view = new Edit(main);
  view.begin();
  return () => view.end();
}

class Edit {
  constructor(main) {
    this.main = main;
    const stored = JSON.parse(sessionStorage.getItem(STORE) ?? "{}");
    this.chosen = { model: "", image: null, mask: null, ...stored, settings: { ...SETTINGS, ...stored.settings } };
    this.abort = new AbortController();
    addEventListener("pagehide", () => this.keep(), { signal: this.abort.signal });
  }

  keep() {
    if (this.mask?.area) this.chosen.mask = [...this.mask.area];
    sessionStorage.setItem(STORE, JSON.stringify(this.chosen));
  }

  async begin() {
    this.main.replaceChildren(state("loading", "Looking for models …"));
    try {
      Object.assign(this, await ask("edit/form", {}, this.abort.signal));
      this.chosen.settings.sampler ??= this.sampler;
      this.build();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.main.replaceChildren(state("failed", error.message, el("button", { onclick: () => this.begin() }, "Try again")));
      return;
    }
    document.addEventListener("keydown", this.onKey, { signal: this.abort.signal });
    const known = this.models.find(({ name }) => name === this.chosen.model);
    await this.openModel((known ?? this.models[0]).name);
    if (!this.abort.signal.aborted) this.unlisten = listen((event) => this.take(event));
  }

  end() {
    this.keep();
    this.abort.abort();
    this.unlisten?.();
    this.result?.stop();
  }

  onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, dialog")) return;
    if (event.key === "g") this.generate();
    else if (event.key === "r") this.settings.roll();
    else if (event.key === "e" && this.chosen.settings.edit === "inpaint") this.mask.setErasing();
    else if (event.key === " " && !event.target.closest("button, summary") && this.result?.player) this.result.player.toggle();
    else if (event.key === "ArrowLeft" && this.result?.move) this.result.move(-1);
    else if (event.key === "ArrowRight" && this.result?.move) this.result.move(1);
    else return;
    event.preventDefault();
  };

  build() {
    const { chosen } = this;
    this.tabs = arrowKeys(el("div", { class: "tabs", role: "tablist", "aria-label": "Edit" }, ...Object.entries(EDITS).map(([edit, text]) =>
      el("button", { role: "tab", "data-edit": edit, onclick: () => this.setEdit(edit) }, text))));
    this.model = el("select", { "aria-label": "Model", onchange: () => this.openModel(this.model.value) },
      ...modelOptions(this.models));
    this.classes = el("select", { "aria-label": "Class", onchange: () => (chosen.settings.label = this.classes.value) });
    this.source = new ImageSource((image) => this.setImage(image), this.abort.signal);
    this.settings = new EditSettings(this.schema, chosen.settings, () => this.showError(""));
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.button = el("button", { class: "primary", title: "Generate (g)", onclick: () => this.generate() }, "Generate");
    this.mask = new Mask(() => this.showError(""));
    this.original = el("div", { class: "original" });
    this.outcome = el("div", { class: "outcome", "aria-live": "polite" });
    this.progress = new JobProgress(this.outcome, ({ progress }) => `network evaluation ${progress.done} of about ${progress.total}`);
    this.main.replaceChildren(
      el("aside", { "aria-label": "Image and settings" },
        el("section", {}, this.tabs, el("label", { class: "field" }, el("span", {}, "Model"), this.model),
          el("label", { class: "field" }, el("span", {}, "Class"), this.classes)),
        this.source.node,
        this.settings.node,
        el("div", { class: "act" }, this.error, this.button)),
      el("div", { class: "stage" }, this.original, this.outcome),
    );
    onEnter(this.settings.node, () => this.generate());
    this.setEdit(chosen.settings.edit);
  }

  setEdit(edit) {
    this.chosen.settings.edit = edit;
    for (const tab of this.tabs.children) tab.setAttribute("aria-selected", `${tab.dataset.edit === edit}`);
    this.source.node.hidden = edit === "interpolate";
    this.settings.show();
    this.showError("");
    if (!this.about) return;
    this.showOriginal();
    this.showStage();
  }

  /** Show the settings that a model has. One that cannot be read is named, and another one may be chosen. */
  async openModel(name) {
    const { chosen } = this;
    const model = { model: name, checkpoint: "" };
    [this.about, chosen.model, this.model.value] = [null, name, name];
    this.source.close();
    this.original.hidden = true;
    this.outcome.replaceChildren(state("loading", "Opening the model …"));
    try {
      const about = await ask("sample/model", model, this.abort.signal);
      if (name !== chosen.model) return; // another one was chosen meanwhile
      this.about = about;
    } catch (error) {
      if (error.name !== "AbortError" && name === chosen.model) this.outcome.replaceChildren(state("failed", error.message));
      return;
    }
    this.showError("");
    const { about } = this;
    const { classes, unconditional } = about;
    const { settings } = chosen;
    if (!classes.includes(settings.label)) settings.label = unconditional ? "" : classes[0] ?? "";
    this.showClasses();
    const fits = chosen.image && decode(chosen.image.pixels).length === about.shape.reduce((a, b) => a * b);
    if (!fits) chosen.image = null;
    this.source.open(model, about.shape, fits);
    this.showOriginal();
    this.showStage();
  }

  showClasses() {
    const { classes, unconditional } = this.about;
    this.classes.parentNode.hidden = !classes.length;
    this.classes.replaceChildren(...(unconditional ? [el("option", { value: "" }, "no label")] : []), ...classes.map((name) => el("option", { value: name }, name)));
    this.classes.value = this.chosen.settings.label;
  }

  setImage(image) {
    this.chosen.image = image;
    this.showOriginal();
    if (!this.result) this.showStage();
  }

  /** The image beside its result; for inpainting it is painted on. */
  showOriginal() {
    const { image, settings: { edit } } = this.chosen;
    this.original.hidden = edit === "interpolate" || !image;
    this.original.parentNode.dataset.edit = edit;
    if (this.original.hidden) return;
    const { canvas, paint } = pixelCanvas(this.about.shape, "The image");
    paint(decode(image.pixels));
    const layers = el("div", { class: "layers" }, canvas);
    this.original.replaceChildren(el("figure", {}, layers, el("figcaption", {}, el("b", {}, "image"), ` ${image.name ?? ""}`)));
    if (edit !== "inpaint") return;
    const [, height, width] = this.about.shape;
    this.mask.open(height, width, this.mask.area ?? (this.chosen.mask && Uint8Array.from(this.chosen.mask)));
    layers.append(this.mask.canvas);
    this.original.append(this.mask.tools);
  }

  showError(message) {
    const elsewhere = this.settings.showError(message);
    this.error.hidden = !message || elsewhere;
    this.error.textContent = message.replace(/^request\.(settings\.)?/, "").replace("second_seed", "to seed");
  }

  async generate() {
    if (!this.about) return;
    const { model, image } = this.chosen;
    const query = { model: { model }, settings: this.settings.query() };
    const { edit } = query.settings;
    if (edit !== "interpolate" && image) Object.assign(query, { pixels: image.pixels, index: image.index ?? -1 });
    if (edit === "inpaint") query.mask = encode(this.mask.area ?? []);
    await startJob(this, "edit", query);
  }

  /** An event: a finished job of samples, or the job of this page, or after a reload the newest edit. */
  take({ job }) {
    if (job?.kind === "sample" && job.state === "done") this.source.setJob(job);
    takeJob(this, "edit", job);
  }

  /** Whether a job is of the model and the kind of edit that are chosen. */
  isShown({ parameters: { call } }) {
    return call.path === this.chosen.model && call.settings.edit === this.chosen.settings.edit;
  }

  /** The last result, where it is of the kind that is chosen; else what can be done. */
  showStage() {
    if (this.job && this.isShown(this.job)) {
      this.showJob();
      return;
    }
    this.result?.stop();
    this.result = null;
    const hints = {
      img2img: this.chosen.image ? "Noise is added to the image, and it is sampled again: the higher the strength, the more freely." : "Choose an image.",
      inpaint: this.chosen.image ? "Paint the part of the image that is generated anew, then press Generate." : "Choose an image.",
      interpolate: "The noise of one seed becomes that of another in equal steps. Press Generate, then move the slider.",
    };
    this.outcome.replaceChildren(state("empty", hints[this.chosen.settings.edit]));
  }

  async showJob() {
    const { job } = this;
    if (!this.isShown(job)) return;
    this.result?.stop();
    this.result = null;
    if (job.state === "failed") this.outcome.replaceChildren(state("failed", job.error, el("button", { onclick: () => this.generate() }, "Try again")));
    else if (job.state === "cancelled") this.outcome.replaceChildren(state("empty", "Cancelled."));
    else if (job.state !== "done") this.progress.show(job);
    else {
      const result = (this.result = new EditResult(job));
      await result.show(this.outcome).catch((error) => this.outcome.replaceChildren(state("failed", error.message)));
      if (this.result !== result) result.stop();
    }
  }
}
