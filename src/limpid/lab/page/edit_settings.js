// The settings of an edit: the fields that each kind of edit takes.

import { el, numberField, withDice } from "./dom.js";
import { form } from "./form.js";

/** The settings at first; `frames` are the images between two seeds, `n` the variations of an image. */
export const SETTINGS = { edit: "img2img", n: 4, frames: 24, seed: 0, second_seed: 1, label: "", steps: 50, strength: 0.5, resample: 5, sampler: null };

export class EditSettings {
  /** `chosen` holds the settings and is changed by the fields; `onChange()` is called when the sampler is changed. */
  constructor(schema, chosen, onChange) {
    Object.assign(this, { schema, chosen, onChange });
    this.node = el("section", {});
  }

  /** Show the fields of the edit that is chosen. */
  show() {
    const { chosen } = this;
    const between = chosen.edit === "interpolate";
    const number = (label, name) => numberField(label, chosen[name], (value) => (chosen[name] = value)).parentNode;
    this.seed = numberField(between ? "From seed" : "Seed", chosen.seed, (value) => (chosen.seed = value));
    this.second_seed = numberField("To seed", chosen.second_seed, (value) => (chosen.second_seed = value));
    const seeds = withDice(this.seed, "Another seed (r)", () => this.roll());
    const second = withDice(this.second_seed, "Another second seed", () => this.roll("second_seed"));
    this.form = form(this.schema, chosen.sampler, (value) => {
      chosen.sampler = value;
      this.onChange();
    }, "sampler");
    this.node.replaceChildren(el("h2", {}, "Settings"), ...{
      img2img: () => [this.strengthField(), seeds, number("Variations", "n"), number("Steps", "steps"), this.form.node],
      inpaint: () => [seeds, number("Variations", "n"), number("Steps", "steps"), number("Times each step", "resample")],
      interpolate: () => [seeds, second, number("Images", "frames"), number("Steps", "steps"), this.form.node],
    }[chosen.edit]());
  }

  strengthField() {
    const { chosen } = this;
    const shown = el("b", {}, chosen.strength.toFixed(2));
    const slider = el("input", { type: "range", min: 0, max: 100, "aria-label": "Strength in hundredths, from the image to noise",
      oninput: () => {
        chosen.strength = slider.value / 100;
        shown.textContent = chosen.strength.toFixed(2);
      } });
    slider.value = Math.round(100 * chosen.strength);
    return el("div", {}, el("p", { class: "field" }, el("span", {}, "Strength"), shown), slider);
  }

  roll(name = "seed") {
    this[name].value = this.chosen[name] = Math.floor(Math.random() * 1e6);
  }

  /** The settings of a job. */
  query() {
    const { frames, ...settings } = this.chosen;
    return settings.edit === "interpolate" ? { ...settings, n: frames } : settings;
  }

  /** Show a line of the server if it is about the sampler; whether it is. */
  showError(message) {
    const path = "request.settings.sampler";
    const ofSampler = message.startsWith(path);
    this.form.show(ofSampler ? message.replace(path, "") : "");
    return ofSampler;
  }
}
