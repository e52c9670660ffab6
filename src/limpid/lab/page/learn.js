// The view Learn: runs that are or were in training, their curves and sample grids, and a form that starts another.

import { ask, listen } from "./api.js";
import { short } from "./chart.js";
import { Curves } from "./curves.js";
import { el, state } from "./dom.js";
import { form } from "./form.js";
import { Grids } from "./grids.js";

export const keys = [
  ["space", "play the sample grids"],
  ["← →", "the sample grids before or after"],
];

const LETTERS = ["a", "b", "c", "d", "e"];
const STORE = "limpid-learn";

export function mount(main) {
  const view = new Learn(main);
  view.begin();
  return () => view.end();
}

class Learn {
  constructor(main) {
    this.main = main;
    this.chosen = { runs: [], recipe: "demo", name: "", value: null, ...JSON.parse(sessionStorage.getItem(STORE) ?? "{}") };
    [this.runs, this.logs, this.training] = [new Map(), new Map(), { run: "", state: "none" }];
    this.abort = new AbortController();
    addEventListener("pagehide", () => this.keep(), { signal: this.abort.signal });
  }

  keep() {
    sessionStorage.setItem(STORE, JSON.stringify(this.chosen));
  }

  async begin() {
    this.main.replaceChildren(state("loading", "Reading the recipes …"));
    try {
      Object.assign(this, await ask("learn/form", {}, this.abort.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.main.replaceChildren(state("failed", error.message, el("button", { onclick: () => this.begin() }, "Try again")));
      return;
    }
    this.build();
    this.openRecipe(this.chosen.recipe, this.chosen.value);
    document.addEventListener("keydown", this.onKey, { signal: this.abort.signal });
    this.unlisten = listen((event) => this.take(event));
    this.show();
  }

  end() {
    this.keep();
    this.abort.abort();
    this.unlisten?.();
    this.grids?.end();
  }

  onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, button, summary, dialog")) return;
    const act = { " ": () => this.grids.play(), ArrowLeft: () => this.grids.step(-1), ArrowRight: () => this.grids.step(1) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };

  build() {
    this.list = el("div", { class: "runs" });
    this.recipe = el("select", { "aria-label": "Recipe", onchange: () => this.openRecipe(this.recipe.value) },
      ...this.recipes.map(({ name }) => el("option", {}, name)));
    this.about = el("p", { class: "hint" });
    this.cost = el("p", { class: "hint" });
    this.name = el("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-label": "Name of the run", oninput: () => (this.chosen.name = this.name.value) });
    this.fields = el("div", {});
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.button = el("button", { class: "primary", onclick: () => this.start() }, "Start training");
    this.stage = el("div", { class: "stage" });
    this.heads = el("div", { class: "heads", "aria-live": "polite" });
    [this.curves, this.grids] = [new Curves(), new Grids()];
    this.main.replaceChildren(
      el("aside", { "aria-label": "Runs and recipes" },
        el("section", {}, el("h2", {}, "Runs"), this.list),
        el("section", {}, el("h2", {}, "New run"), this.recipe, this.about, this.cost,
          el("label", { class: "field" }, el("span", {}, "Name"), this.name), this.fields),
        el("div", { class: "act" }, this.error, this.button)),
      this.stage,
    );
  }

  /** Show the form of a recipe, with other values if there are some. */
  openRecipe(name, value = null) {
    const found = this.recipes.find((recipe) => recipe.name === name) ?? this.recipes[0];
    const { chosen } = this;
    if (!value || found.name !== chosen.recipe) {
      value = structuredClone(found.recipe);
      if (value.data.kind === "Folder" && this.images.length) value.data.root = this.images[0];
      chosen.name = this.freeName(found.name);
    }
    Object.assign(chosen, { recipe: found.name, value });
    [this.recipe.value, this.name.value] = [found.name, chosen.name];
    const [about, cost] = found.doc.split("\n\n");
    [this.about.textContent, this.cost.textContent] = [about.replaceAll("\n", " "), (cost ?? "").replaceAll("\n", " ")];
    this.form = form(this.schema, value, (next) => {
      chosen.value = next;
      this.showError("");
    }, "", { folded: true });
    this.fields.replaceChildren(this.form.node);
  }

  /** A name for a run that no run has. */
  freeName(recipe) {
    let name = recipe;
    for (let i = 2; this.taken(name); i++) name = `${recipe}-${i}`;
    return name;
  }

  taken(name) {
    return [...this.runs.keys()].some((run) => run.split(/[\\/]/).pop() === name);
  }

  showError(message) {
    const inForm = message.startsWith("request.recipe");
    this.form.show(inForm ? message : "");
    this.error.hidden = !message || inForm;
    this.error.textContent = message.replace("request.", "");
  }

  async start() {
    this.button.disabled = true;
    try {
      const { run } = await ask("training/start", { name: this.chosen.name, recipe: this.chosen.value });
      this.chosen.runs = [run];
      this.showError("");
      this.show();
    } catch (error) {
      this.showError(error.message);
    } finally {
      this.button.disabled = false;
    }
  }

  async act(path, query, button) {
    button.disabled = true;
    await ask(path, query).then(() => this.showError(""), (error) => this.showError(error.message));
    button.disabled = false;
  }

  take({ key, run, gone, training }) {
    if (training) this.training = training;
    else if (run) this.runs.set(run.name, run);
    else if (gone && key === `run ${gone}`) this.runs.delete(gone);
    else return;
    if (run && document.activeElement !== this.name && this.taken(this.chosen.name)) {
      this.name.value = this.chosen.name = this.freeName(this.chosen.recipe);
    }
    this.show();
  }

  /** Show everything anew, in the next frame. */
  show() {
    this.request ??= requestAnimationFrame(() => {
      this.request = undefined;
      this.paint();
    });
  }

  paint() {
    if (this.abort.signal.aborted) return;
    const names = [...this.runs.keys()];
    if (this.training.run && this.training.state !== "none" && !this.runs.has(this.training.run)) names.push(this.training.run);
    this.chosen.runs = this.chosen.runs.filter((name) => names.includes(name));
    if (!this.chosen.runs.length && names.length) this.chosen.runs = [this.newest(names)];
    this.showList(names);
    if (!this.chosen.runs.length) {
      this.stage.replaceChildren(state("empty", `No run is in ${this.folder} yet. Choose a recipe and press Start training: demo takes one to two minutes. Runs that limpid train starts appear here too.`));
      return;
    }
    if (!this.heads.isConnected) this.stage.replaceChildren(this.heads, this.curves.node, this.grids.node);
    this.heads.replaceChildren(...this.chosen.runs.map((name, i) => this.head(name, LETTERS[i])));
    for (const name of this.chosen.runs) this.read(name);
    this.draw();
  }

  newest(names) {
    const held = names.filter((name) => this.runs.get(name)?.held_by || name === this.training.run);
    return (held.length ? held : names).reduce((a, b) => ((this.runs.get(b)?.started ?? 0) > (this.runs.get(a)?.started ?? 0) ? b : a));
  }

  showList(names) {
    const rows = names.map((name) => {
      const at = this.chosen.runs.indexOf(name);
      const box = el("input", { type: "checkbox", onchange: () => this.choose(name, box.checked) });
      box.checked = at >= 0;
      const { text } = this.stateOf(name);
      return el("label", { class: `run ${at >= 0 ? LETTERS[at] : ""}`, "data-run": name }, box, el("span", {}, name), el("small", {}, text));
    });
    const focused = document.activeElement?.closest(".run")?.dataset.run;
    this.list.replaceChildren(...(rows.length ? rows : [el("p", { class: "hint" }, "none yet")]));
    if (focused) [...this.list.children].find((row) => row.dataset.run === focused)?.querySelector("input").focus();
  }

  choose(name, on) {
    const { chosen } = this;
    chosen.runs = chosen.runs.filter((other) => other !== name);
    if (on) chosen.runs = [...chosen.runs, name].slice(-LETTERS.length);
    this.show();
  }

  /** How a run is, in words, and what can be done with it. */
  stateOf(name) {
    const { training } = this;
    const run = this.runs.get(name);
    const own = training.run === name;
    if (own && training.state === "running") return { text: run?.held_by ? "in training" : "starting …", stop: true };
    if (own && training.state === "stopping") return { text: "saving and stopping …" };
    if (own && training.state === "failed" && !run?.held_by) return { text: "failed", error: training.error, resume: Boolean(run) };
    if (run?.held_by) return { text: "in training", hint: run.held_by };
    if (run && run.duration && run.images_seen >= run.duration) return { text: "finished" };
    return { text: "stopped", resume: Boolean(run) };
  }

  head(name, letter) {
    const run = this.runs.get(name) ?? { images_seen: 0, duration: 0, loss: null, images_per_second: 0 };
    const { text, hint, error, stop, resume } = this.stateOf(name);
    const busy = ["running", "stopping"].includes(this.training.state);
    const bar = el("progress", { max: run.duration || 1, value: run.images_seen, "aria-label": `Progress of ${name}` });
    const left = run.duration - run.images_seen;
    const facts = [`${run.images_seen.toLocaleString("en")} of ${run.duration.toLocaleString("en")} images`];
    if (run.loss !== null) facts.push(`loss ${short(Number(run.loss.toPrecision(3)))}`);
    if (run.images_per_second) facts.push(`${short(Math.round(run.images_per_second))} images/s`);
    if (left > 0 && run.images_per_second && (stop || hint)) facts.push(`${inWords(left / run.images_per_second)} left`);
    const stopButton = stop && el("button", { onclick: () => this.act("training/stop", {}, stopButton) }, "Stop and save");
    const resumeButton = resume && el("button", { disabled: busy, title: busy ? `${this.training.run} is in training` : undefined,
      onclick: () => this.act("training/resume", { run: name }, resumeButton) }, "Go on");
    return el("section", { class: `head ${letter}` },
      el("h2", {}, el("span", { class: "dot" }), name), el("span", { class: "where", title: hint }, text), bar,
      el("span", { class: "facts" }, facts.join("  ·  ")), stopButton, resumeButton,
      error && el("p", { class: "error", role: "alert" }, error));
  }

  /** Read what is new in the log of a run; one request at a time for each. */
  async read(name) {
    const run = this.runs.get(name);
    if (!run) return;
    const log = this.logs.get(name) ?? { version: "", next: 0, lines: [], grids: [], seen: "" };
    this.logs.set(name, log);
    const now = JSON.stringify([run.log, run.grids]);
    if (log.reading || log.seen === now) return;
    log.reading = true;
    try {
      const { version, start, next, lines, grids } = await ask("learn/log", { run: name, version: log.version, start: log.next }, this.abort.signal);
      Object.assign(log, { version, next, grids, seen: now, lines: start ? [...log.lines, ...lines] : lines });
    } catch (error) {
      if (error.name !== "AbortError") Object.assign(log, { seen: now }), this.showError(error.message);
    } finally {
      log.reading = false;
    }
    this.show();
  }

  draw() {
    const shown = this.chosen.runs.map((name, i) => ({ name, kind: LETTERS[i], ...(this.logs.get(name) ?? { lines: [], grids: [], next: 0 }) }));
    this.curves.draw(shown);
    this.grids.draw(shown);
  }
}

/** Seconds in words: 42 s, 3 min, 5 h 10 min. */
function inWords(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
