// The result of an edit: variations beside what they began from, or the images between two seeds as a slider.

import { file } from "./api.js";
import { code, el, save } from "./dom.js";
import { arrowKeys } from "./keyboard.js";
import { Player } from "./player.js";

const SECONDS = 4; // that playing takes from one seed to the other

export class EditResult {
  constructor(job) {
    this.job = job;
    [, this.height, this.width] = job.result.shape;
  }

  async show(node) {
    this.atlas = await createImageBitmap(await file(`api/jobs/${this.job.id}/0/atlas.png`));
    const { settings } = this.job.parameters.call;
    const { evaluations, seconds, command, python } = this.job.result;
    const facts = el("p", { class: "facts" }, `${evaluations} NFE · ${seconds.toFixed(seconds < 10 ? 1 : 0)} s`);
    const downloads = { "Result as PNG": "grid.png", npz: "samples.npz", ...(settings.edit === "interpolate" ? {} : { Image: "image.png" }), ...(settings.edit === "inpaint" ? { Mask: "mask.png" } : {}) };
    node.replaceChildren(
      ...(settings.edit === "interpolate" ? this.scrubber(settings) : this.variations(settings)),
      facts,
      el("div", { class: "downloads" }, ...Object.entries(downloads).map(([text, name]) => this.download(text, name))),
      el("details", {}, el("summary", {}, "The same from the command and from Python"),
        settings.edit !== "interpolate" && el("p", { class: "hint" }, "In the folder of the downloads: image.png and mask.png are read there."), code(command), code(python)));
  }

  canvas(label, row, column) {
    const canvas = el("canvas", { class: "pixels", role: "img", "aria-label": label, width: this.width, height: this.height });
    this.draw(canvas, row, column);
    return canvas;
  }

  draw(canvas, row, column) {
    const [w, h] = [this.width, this.height];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, w, h);
    context.drawImage(this.atlas, column * w, row * h, w, h, 0, 0, w, h);
  }

  /** What the result began from, of the variation that is chosen, and the variations. */
  variations({ edit, seed, n, strength }) {
    const begun = this.canvas(edit === "inpaint" ? "The known part" : "The image with noise", 1, 0);
    const caption = el("figcaption", {});
    const large = this.canvas("The result", 2, 0);
    const largeCaption = el("figcaption", {});
    const choose = (i) => {
      this.draw(begun, 1, i);
      this.draw(large, 2, i);
      caption.replaceChildren(...(edit === "inpaint" ? [el("b", {}, "known part")] : [el("b", {}, "with noise"), ` strength ${strength}`]));
      largeCaption.replaceChildren(el("b", {}, "result"), ` seed ${seed + i}`);
      [...strip.children].forEach((button, j) => button.setAttribute("aria-pressed", `${i === j}`));
    };
    const strip = arrowKeys(el("div", { class: "strip", role: "group", "aria-label": "Variations" }, ...Array.from({ length: n }, (_, i) =>
      el("button", { title: `seed ${seed + i}`, "aria-label": `Seed ${seed + i}`, onclick: () => choose(i) }, this.canvas("", 2, i)))));
    choose(0);
    return [el("div", { class: "pair-of-figures" }, el("figure", {}, begun, caption), el("figure", {}, large, largeCaption)), strip];
  }

  scrubber({ seed, second_seed, n }) {
    const shown = this.canvas("The sample between the two seeds", 0, 0);
    const caption = el("figcaption", {});
    const slider = el("input", { type: "range", min: 0, max: n - 1, "aria-label": `From seed ${seed} to seed ${second_seed}`, 
      oninput: () => {
        this.player.stop();
        show(slider.value);
      } });
    const show = (i) => {
      this.draw(shown, 0, i);
      caption.textContent = n > 1 ? `${Math.round((100 * i) / (n - 1))} %` : "";
    };
    slider.value = 0;
    show(0);
    this.move = (step) => {
      slider.value = Number(slider.value) + step;
      show(slider.value);
    };
    this.player = new Player(SECONDS, () => slider.value / Math.max(1, n - 1), (position) => this.move(Math.round(position * (n - 1)) - slider.value));
    const ends = [[seed, 0], [second_seed, n - 1]].map(([one, i]) => el("figure", { class: "end" }, this.canvas(`The sample of seed ${one}`, 0, i), el("figcaption", {}, `seed ${one}`)));
    return [
      el("div", { class: "between" }, ends[0], el("figure", {}, shown, caption), ends[1]),
      el("div", { class: "level" }, this.player.button, slider),
      el("div", { class: "film" }, ...Array.from({ length: n }, (_, i) => this.canvas("", 0, i))),
    ];
  }

  stop() {
    this.player?.stop();
  }

  download(text, name) {
    const path = `api/jobs/${this.job.id}/0/${name}`;
    const act = () => file(path).then((blob) => save(blob, name === "grid.png" ? "result.png" : name));
    return el("button", { onclick: act }, text);
  }
}
