// The runs of the view Learn: their list, and above the curves the state of each that is shown. The elements stay while
// their texts change, so that a click, the focus or a selected text survives the next event of the server.

import { short } from "./chart.js";
import { el } from "./dom.js";

/** Lines of elements by name, each made once and then changed. */
export class Rows {
  constructor(node, make) {
    Object.assign(this, { node, make, rows: new Map() });
  }

  /** Show a row for each name, in this order, updated with `values(name)`. */
  show(names, values) {
    for (const name of this.rows.keys()) if (!names.includes(name)) this.rows.delete(name);
    for (const name of names) if (!this.rows.has(name)) this.rows.set(name, this.make(name));
    const nodes = names.map((name) => this.rows.get(name).node);
    if (nodes.length !== this.node.children.length || nodes.some((node, i) => node !== this.node.children[i])) {
      this.node.replaceChildren(...nodes);
    }
    for (const name of names) this.rows.get(name).update(...values(name));
  }
}

/** A line of the list: a box to show the run, its name and its state. */
export function listRow(name, choose) {
  const box = el("input", { type: "checkbox", onchange: () => choose(box.checked) });
  const [label, text] = [el("span"), el("small")];
  const node = el("label", { class: "run", title: name }, box, label, text);
  return {
    node,
    update(letter, title, state) {
      node.className = `run ${letter ?? ""}`;
      box.checked = letter !== undefined;
      write(label, title);
      write(text, state.text);
    },
  };
}

/** The state of a run, and the buttons that stop it or go on with it. */
export function head(name, { stop, resume }) {
  const dot = el("span", { class: "dot" });
  const [title, text, facts] = [el("span"), el("span", { class: "where" }), el("span", { class: "facts" })];
  const bar = el("progress", { "aria-label": `Progress of ${name}` });
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const buttons = [el("button", { onclick: (event) => stop(event.target) }, "Stop and save"), el("button", { onclick: (event) => resume(event.target) }, "Go on")];
  const node = el("section", {}, el("h2", { title: name }, dot, title), text, bar, facts, ...buttons, error);
  return {
    node,
    update(letter, label, run, state, busy) {
      node.className = `head ${letter}`;
      write(title, label);
      write(text, state.text);
      text.title = state.hint ?? "";
      [bar.max, bar.value] = [run.duration || 1, run.images_seen];
      write(facts, factsOf(run, state).join("  ·  "));
      [buttons[0].hidden, buttons[1].hidden] = [!state.stop, !state.resume];
      buttons[1].disabled = Boolean(busy);
      buttons[1].title = busy ? `${busy} is in training` : "";
      error.hidden = !state.error;
      write(error, state.error ?? "");
    },
  };
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function factsOf(run, { live }) {
  if (!run.duration) return []; // nothing is known of a run that has no folder yet
  const facts = [`${run.images_seen.toLocaleString("en")} of ${run.duration.toLocaleString("en")} images`];
  if (run.loss !== null) facts.push(`loss ${short(Number(run.loss.toPrecision(3)))}`);
  if (run.images_per_second) facts.push(`${short(Number(run.images_per_second.toPrecision(3)))} images/s`);
  const left = run.duration - run.images_seen;
  if (live && left > 0 && run.images_per_second) facts.push(`${inWords(left / run.images_per_second)} left`);
  return facts;
}

/** Seconds in words: 42 s, 3 min, 5 h 10 min. */
function inWords(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The shortest end of each path that no other path has. */
export function labels(names) {
  const end = (name, n) => name.split(/[\\/]/).slice(-n).join("/");
  return new Map(names.map((name) => {
    let n = 1;
    while (end(name, n) !== end(name, n + 1) && names.some((other) => other !== name && end(other, n) === end(name, n))) n++;
    return [name, end(name, n)];
  }));
}

/** The options of a choice of models, by the shortest names. */
export function modelOptions(models) {
  const shown = labels(models.map(({ name }) => name));
  return models.map(({ name }) => el("option", { value: name, title: name }, shown.get(name)));
}
