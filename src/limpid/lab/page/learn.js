// The view Learn: runs that are or were in training, their curves and sample grids, and a form that starts another.

import { ask, listen } from "./api.js";
import { Curves } from "./curves.js";
import { el, state } from "./dom.js";
import { Grids } from "./grids.js";
import { head, labels, listRow, Rows } from "./heads.js";
import { NEW_RUN, NewRun } from "./new_run.js";

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
    this.chosen = { runs: [], ...NEW_RUN, ...JSON.parse(sessionStorage.getItem(STORE) ?? "{}") };
    [this.runs, this.logs, this.training, this.starting] = [new Map(), new Map(), { run: "", state: "none" }, ""];
    this.abort = new AbortController();
    addEventListener("pagehide", () => this.keep(), { signal: this.abort.signal });
  }

  keep() {
    sessionStorage.setItem(STORE, JSON.stringify(this.chosen));
  }

  async begin() {
    this.main.replaceChildren(state("loading", "Reading the recipes …"));
    try {
      this.form = await ask("learn/form", {}, this.abort.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.main.replaceChildren(state("failed", error.message, el("button", { onclick: () => this.begin() }, "Try again")));
      return;
    }
    this.build();
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
    this.rows = new Rows(el("div", { class: "runs" }), (name) => listRow(name, (on) => this.choose(name, on)));
    this.none = el("p", { class: "hint" }, "none yet");
    this.heads = new Rows(el("div", { class: "heads" }), (name) => head(name, {
      stop: (button) => this.act("training/stop", {}, button),
      resume: (button) => this.act("training/resume", { run: name }, button),
    }));
    this.newRun = new NewRun(this.form, this.chosen, (name) => this.taken(name), (run) => {
      if (this.training.run !== run) this.starting = run; // its first event comes later than this answer
      this.chosen.runs = [run];
      this.show();
    });
    [this.stage, this.wait] = [el("div", { class: "stage" }), el("div", { class: "wait" })];
    [this.curves, this.grids] = [new Curves(), new Grids()];
    this.body = el("div", { class: "body" }, this.grids.node, this.curves.node);
    this.main.replaceChildren(
      el("aside", { "aria-label": "Runs and recipes" },
        el("section", {}, el("h2", {}, "Runs"), this.none, this.rows.node),
        ...this.newRun.nodes),
      this.stage,
    );
  }

  taken(name) {
    return [...this.runs.keys()].some((run) => run.split(/[\\/]/).pop() === name);
  }

  async act(path, query, button) {
    button.disabled = true;
    await ask(path, query).then(() => this.newRun.showError(""), (error) => this.newRun.showError(error.message));
    button.disabled = false;
  }

  take({ key, run, gone, training }) {
    if (training) [this.training, this.starting] = [training, ""];
    else if (run) this.runs.set(run.name, run);
    else if (gone && key === `run ${gone}`) this.runs.delete(gone);
    else return;
    if (run) this.newRun.renameIfTaken();
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
    // A run that is starting, or that failed before it had a folder; one that was removed since is not shown.
    if (["running", "stopping", "failed"].includes(this.training.state) && !this.runs.has(this.training.run)) names.push(this.training.run);
    if (this.starting && !names.includes(this.starting)) names.push(this.starting);
    this.chosen.runs = this.chosen.runs.filter((name) => names.includes(name));
    if (!this.chosen.runs.length && names.length) this.chosen.runs = [this.newest(names)];
    const shown = labels(names);
    this.none.hidden = names.length > 0;
    const letter = (name) => LETTERS[this.chosen.runs.indexOf(name)];
    names.forEach((name) => this.logs.get(name) ?? this.logs.set(name, { version: "", next: 0, lines: [], damaged: 0, grids: [], seen: "" }));
    this.rows.show(names, (name) => [letter(name), shown.get(name), this.stateOf(name)]);
    if (!this.chosen.runs.length) {
      this.stage.replaceChildren(state("empty", `No run is in ${this.form.folder} yet. Choose a recipe and press Start training: demo takes one to two minutes. Runs that limpid train starts in ${this.form.folder} appear here too.`));
      return;
    }
    const busy = ["running", "stopping"].includes(this.training.state) && shown.get(this.training.run);
    const none = { images_seen: 0, duration: 0, loss: null, images_per_second: 0 };
    this.heads.show(this.chosen.runs, (name) => [letter(name), shown.get(name), this.runs.get(name) ?? none, this.stateOf(name), busy]);
    for (const name of this.chosen.runs) this.read(name);
    this.draw(shown);
  }

  newest(names) {
    const held = names.filter((name) => this.runs.get(name)?.held_by || name === this.training.run);
    return (held.length ? held : names).reduce((a, b) => ((this.runs.get(b)?.started ?? 0) > (this.runs.get(a)?.started ?? 0) ? b : a));
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
    if (name === this.starting) return { text: "starting …", live: true };
    if (own && training.state === "running") return { text: run?.held_by ? "in training" : "starting …", stop: true, live: true };
    if (own && training.state === "stopping") return { text: "saving and stopping …", live: true };
    if (run?.held_by) return { text: "in training by another process", hint: run.held_by, live: true };
    const finished = run?.duration > 0 && run.images_seen >= run.duration;
    const error = own && training.state === "failed" && !finished ? training.error : run?.error;
    if (error) return { text: "failed", error, resume: Boolean(run) };
    if (finished) return { text: "finished" };
    return { text: "stopped", resume: Boolean(run) };
  }

  /** Read what is new in the log of a run; one request at a time for each. */
  async read(name) {
    const run = this.runs.get(name);
    if (!run) return;
    const log = this.logs.get(name);
    const now = JSON.stringify([run.log, run.grids]);
    if (log.reading || log.seen === now) return;
    log.reading = true;
    try {
      const { version, start, next, lines, damaged, grids } = await ask("learn/log", { run: name, version: log.version, start: log.next }, this.abort.signal);
      Object.assign(log, { version, next, grids, seen: now });
      log.lines = start ? [...log.lines, ...lines] : lines;
      log.damaged = start ? log.damaged + damaged : damaged;
    } catch (error) {
      if (error.name !== "AbortError") Object.assign(log, { seen: now }), this.newRun.showError(error.message);
    } finally {
      log.reading = false;
    }
    this.show();
  }

  draw(labels) {
    const logs = this.chosen.runs.map((name, i) => ({ name, label: labels.get(name), kind: LETTERS[i], ...this.logs.get(name) }));
    const waiting = !logs.some(({ lines, grids }) => lines.length || grids.length) && this.waiting(this.chosen.runs);
    const nodes = [this.heads.node, waiting ? this.wait : this.body];
    if (nodes[1].parentNode !== this.stage) this.stage.replaceChildren(...nodes);
    if (waiting) return this.wait.replaceChildren(state(...waiting));
    this.curves.draw(logs);
    this.grids.draw(logs, this.chosen.runs.some((name) => this.stateOf(name).live));
  }

  /** What is said in place of the curves of runs that have none. */
  waiting(names) {
    if (names.some((name) => this.runs.get(name)?.log[1] && !this.logs.get(name).seen)) return ["loading", "Reading the log …"];
    if (names.some((name) => this.stateOf(name).live)) return ["loading", "The first losses and samples appear here in a moment …"];
    return ["empty", "This run has ended before its first losses."];
  }
}
