// The view Sample: a model, some seeds, and one to three settings of the sampler beside each other.

import { ask, listen } from "./api.js";
import { el, numberField, state, withDice } from "./dom.js";
import { form } from "./form.js";
import { modelOptions } from "./heads.js";
import { arrowKeys, onEnter } from "./keyboard.js";
import { startJob, takeJob } from "./own_job.js";
import { JobProgress } from "./progress.js";
import { LETTERS, SampleResult } from "./sample_result.js";

export const keys = [
  ["g", "generate"],
  ["r", "another seed"],
  ["Enter", "open the trajectory of an image"],
  ["← →", "in a trajectory: a step back or on"],
  ["↑ ↓", "in a trajectory: the image before or after"],
];

const STORE = "limpid-sample";

export function mount(main) {
  const view = new Sample(main);
  view.begin();
  return () => view.end();
}

class Sample {
  constructor(main) {
    this.main = main;
    this.chosen = { model: "", checkpoint: "", n: 64, seed: 0, dice: false, labels: [], weights: "ema", settings: [], ...JSON.parse(sessionStorage.getItem(STORE) ?? "{}") };
    this.tab = 0;
    this.job = null;
    this.abort = new AbortController();
    addEventListener("pagehide", () => this.keep(), { signal: this.abort.signal });
    addEventListener("resize", () => this.result?.fit(), { signal: this.abort.signal });
  }

  keep() {
    sessionStorage.setItem(STORE, JSON.stringify(this.chosen));
  }

  async begin() {
    this.main.replaceChildren(state("loading", "Looking for models …"));
    try {
      Object.assign(this, await ask("sample/form", {}, this.abort.signal));
      this.build();
      const known = this.models.find(({ name }) => name === this.chosen.model);
      await this.openModel(known ? known.name : this.models[0].name, known ? this.chosen.checkpoint : "", !known);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.main.replaceChildren(state("failed", error.message, el("button", { onclick: () => this.begin() }, "Try again")));
      return;
    }
    document.addEventListener("keydown", this.onKey, { signal: this.abort.signal });
    this.unlisten = listen((event) => this.take(event));
    if (!this.job) this.showEmpty();
  }

  end() {
    this.keep();
    this.abort.abort();
    this.unlisten?.();
    this.result?.close();
  }

  onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, dialog")) return;
    if (event.key === "g") this.generate();
    else if (event.key === "r") this.roll();
  };

  build() {
    const { chosen } = this;
    this.model = el("select", { "aria-label": "Model", onchange: () => this.openModel(this.model.value, "", true) },
      ...modelOptions(this.models));
    this.checkpoint = el("input", { type: "range", min: 0, "aria-label": "Checkpoint", oninput: () => this.nameCheckpoint(), onchange: () => this.openModel(chosen.model, this.checkpoints[this.checkpoint.value], false) });
    this.checkpointName = el("p", { class: "hint" });
    this.classes = arrowKeys(el("div", { class: "chips", role: "group", "aria-label": "Classes" }));
    this.n = numberField("Samples", chosen.n, (value) => (chosen.n = value));
    this.seed = numberField("First seed", chosen.seed, (value) => (chosen.seed = value));
    this.dice = el("input", { type: "checkbox", onchange: () => (chosen.dice = this.dice.checked) });
    this.dice.checked = chosen.dice;
    this.weights = el("select", { "aria-label": "Weights", onchange: () => (chosen.weights = this.weights.value) },
      ...[["ema", "EMA"], ["raw", "raw, of the last step"]].map(([value, text]) => el("option", { value, selected: value === chosen.weights }, text)));
    this.tabs = arrowKeys(el("div", { class: "tabs", role: "tablist", "aria-label": "Settings" }));
    this.settings = el("div", { role: "tabpanel" });
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.button = el("button", { class: "primary", title: "Generate (g)", onclick: () => this.generate() }, "Generate");
    this.stage = el("div", { class: "stage", "aria-live": "polite" });
    this.progress = new JobProgress(this.stage, ({ progress, parameters }) =>
      `${parameters.settings.length > 1 ? `${LETTERS[progress.setting]}: ` : ""}step ${progress.done} of ${progress.total}`);
    this.main.replaceChildren(
      el("aside", { "aria-label": "Model and settings" },
        el("section", {}, el("h2", {}, "Model"), this.model, this.checkpoint, this.checkpointName, this.classes,
          this.n.parentNode,
          withDice(this.seed, "Another seed (r)", () => this.roll()),
          el("label", { class: "field check" }, this.dice, el("span", {}, "another seed each time")),
          el("label", { class: "field" }, el("span", {}, "Weights"), this.weights)),
        el("section", {}, el("h2", {}, "Settings"), this.tabs, this.settings),
        el("div", { class: "act" }, this.error, this.button)),
      this.stage,
    );
    onEnter(this.main.firstElementChild, () => this.generate());
  }

  roll() {
    this.seed.value = this.chosen.seed = Math.floor(Math.random() * 1e6);
  }

  /** Show the settings that a model has at a checkpoint; a new model brings its own settings. */
  async openModel(name, checkpoint, anew) {
    const { chosen } = this;
    Object.assign(chosen, { model: name, checkpoint });
    this.model.value = name;
    this.checkpoints = this.models.find((model) => model.name === name).checkpoints;
    this.checkpoint.hidden = this.checkpoints.length < 2;
    this.checkpoint.max = this.checkpoints.length - 1;
    this.checkpoint.value = checkpoint ? this.checkpoints.indexOf(checkpoint) : this.checkpoints.length - 1;
    let about;
    try {
      about = await ask("sample/model", { model: name, checkpoint }, this.abort.signal);
    } catch (error) {
      if (error.name !== "AbortError") this.showError(error.message);
      return;
    }
    if (chosen.model !== name || chosen.checkpoint !== checkpoint) return; // another one was chosen meanwhile
    this.showError("");
    this.about = about;
    if (anew || !chosen.settings.length) [chosen.settings, chosen.labels, this.tab] = [[about.sampling], [], 0];
    const seen = about.images_seen ? `, ${about.images_seen.toLocaleString("en")} images seen in training` : "";
    this.checkpointName.textContent = `${about.shape.slice(1).reverse().join("×")} pixels${seen}`;
    this.showClasses();
    this.showTabs();
  }

  nameCheckpoint() {
    const seen = parseInt(this.checkpoints[this.checkpoint.value], 10);
    this.checkpointName.textContent = `${seen.toLocaleString("en")} images seen in training`;
  }

  showClasses() {
    const { classes, unconditional } = this.about;
    const { chosen } = this;
    const chip = (text, on, act) => el("button", { "aria-pressed": `${on}`, onclick: () => { act(); this.showClasses(); } }, text);
    this.classes.hidden = !classes.length;
    this.classes.replaceChildren(
      chip("all", !chosen.labels.length, () => (chosen.labels = [])),
      ...(unconditional ? [chip("no label", chosen.labels[0] === "none", () => (chosen.labels = ["none"]))] : []),
      ...classes.map((name) => chip(name, chosen.labels.includes(name), () => {
        const others = chosen.labels.filter((label) => label !== name && label !== "none");
        chosen.labels = chosen.labels.includes(name) ? others : [...others, name];
      })),
    );
  }

  showTabs() {
    const { settings } = this.chosen;
    this.tab = Math.min(this.tab, settings.length - 1);
    const open = (i) => {
      this.tab = i;
      this.showTabs();
      this.tabs.children[i].focus();
    };
    const add = () => {
      settings.push(structuredClone(settings[this.tab]));
      open(settings.length - 1);
    };
    const remove = () => {
      settings.splice(this.tab, 1);
      open(Math.max(0, this.tab - 1));
    };
    this.tabs.replaceChildren(
      ...settings.map((_, i) => el("button", { role: "tab", class: LETTERS[i].toLowerCase(), "aria-selected": `${i === this.tab}`, onclick: () => open(i) }, LETTERS[i])),
      settings.length < this.limits.settings && el("button", { title: "Compare with another setting", "aria-label": "Add a setting", onclick: add }, "+"),
      settings.length > 1 && el("button", { title: "Take this setting away", "aria-label": "Remove this setting", onclick: remove }, "−"),
    );
    this.tabs.replaceChildren(...[...this.tabs.childNodes].filter((node) => node.nodeType === 1));
    this.form = form(this.schema, settings[this.tab], (value) => {
      settings[this.tab] = value;
      this.showError("");
    });
    this.settings.replaceChildren(this.form.node);
  }

  showError(message) {
    const where = message.match(/^request\.settings\[(\d)\]/);
    if (where && Number(where[1]) !== this.tab) {
      this.tab = Number(where[1]);
      this.showTabs();
    }
    this.form?.show(where ? message.replace(where[0], "") : "");
    this.error.hidden = !message || Boolean(where);
    this.error.textContent = message.replace("request.", "");
  }

  async generate() {
    if (!this.about) return;
    if (this.chosen.dice) this.roll();
    const { model, checkpoint, n, seed, labels, weights, settings } = this.chosen;
    await startJob(this, "sample", { model: { model, checkpoint }, n, seed, labels, weights, settings });
  }

  /** An event: the job of this page, or after a reload the newest. */
  take({ job }) {
    takeJob(this, "sample", job);
  }

  showEmpty() {
    this.stage.replaceChildren(state("empty", "Choose a model and press Generate. Every image opens into its trajectory, from noise to the sample."));
  }

  showJob() {
    const { job } = this;
    if (job.state === "done") this.showResult();
    else if (job.state === "failed") this.stage.replaceChildren(state("failed", job.error, el("button", { onclick: () => this.generate() }, "Try again")));
    else if (job.state === "cancelled") this.stage.replaceChildren(state("empty", "Cancelled."));
    else this.progress.show(job);
  }

  async showResult() {
    const { job } = this;
    this.stage.replaceChildren(state("loading", "Loading the samples …"));
    const result = new SampleResult(job);
    try {
      await result.show(this.stage, () => this.job === job);
    } catch (error) {
      if (this.job === job) this.stage.replaceChildren(state("failed", error.message));
      return;
    }
    this.result?.close();
    this.result = result;
  }
}
