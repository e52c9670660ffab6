// The view Compare: the scores of two runs, and whether a sample is a copy of a training image.

import { ask, decode, listen } from "./api.js";
import { el, state } from "./dom.js";
import { labels } from "./heads.js";
import { ImageSource } from "./image_source.js";
import { pixelCanvas } from "./images.js";
import { arrowKeys } from "./keyboard.js";

export const keys = [["x", "exchange A and B"]];

const TABS = { scores: "Scores", copies: "Is it a copy?" };
const HEADS = ["", "A", "B", "A − B", "95% interval", ""];
const STORE = "limpid-compare";

export function mount(main) {
  const view = new Compare(main);
  view.begin();
  return () => view.end();
}

class Compare {
  constructor(main) {
    this.main = main;
    this.chosen = { tab: "scores", a: "", b: "", model: "", ...JSON.parse(sessionStorage.getItem(STORE) ?? "{}") };
    this.abort = new AbortController();
    addEventListener("pagehide", () => this.keep(), { signal: this.abort.signal });
  }

  keep() {
    sessionStorage.setItem(STORE, JSON.stringify(this.chosen));
  }

  async begin() {
    this.main.replaceChildren(state("loading", "Looking for runs …"));
    try {
      const { models } = await ask("compare/models", {}, this.abort.signal);
      this.models = models.map(({ name }) => name);
      this.scored = models.filter(({ scored }) => scored).map(({ name }) => name);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.main.replaceChildren(state("failed", error.message, el("button", { onclick: () => this.begin() }, "Try again")));
      return;
    }
    this.build();
    document.addEventListener("keydown", this.onKey, { signal: this.abort.signal });
    this.unlisten = listen(({ job }) => {
      if (job?.kind === "sample" && job.state === "done") this.source.setJob(job);
    });
    this.compare();
    this.openModel();
  }

  end() {
    this.keep();
    this.abort.abort();
    this.unlisten?.();
  }

  onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, dialog") || event.key !== "x") return;
    this.exchange();
  };

  build() {
    const { models, scored, chosen } = this;
    const short = labels(models);
    const select = (label, names, value, act) => {
      const node = el("select", { "aria-label": label, onchange: act }, ...names.map((name) => el("option", { value: name, selected: name === value, title: name }, short.get(name))));
      el("label", { class: "field" }, el("span", {}, label), node);
      return node;
    };
    const known = (name, names, position) => (names.includes(name) ? name : names[position] ?? names[0]);
    this.a = select("A", scored, known(chosen.a, scored, 0), () => this.compare());
    this.b = select("B", scored, known(chosen.b, scored, 1), () => this.compare());
    this.model = select("Model", models, known(chosen.model, models, 0), () => this.openModel());
    this.source = new ImageSource((image) => this.seek(image), this.abort.signal, "samples");
    this.tabs = arrowKeys(el("div", { class: "tabs", role: "tablist", "aria-label": "Compare" }, ...Object.entries(TABS).map(([tab, text]) =>
      el("button", { role: "tab", "data-tab": tab, onclick: () => this.setTab(tab) }, text))));
    const exchange = el("button", { title: "Exchange A and B (x)", onclick: () => this.exchange() }, "Exchange A and B");
    this.pair = el("section", {}, el("h2", {}, "Runs with scores"), this.a.parentNode, this.b.parentNode, exchange);
    this.of = el("section", {}, el("h2", {}, "Training images of"), this.model.parentNode);
    this.table = el("section", { class: "comparison", "aria-live": "polite" });
    this.nearest = el("section", { class: "nearest", "aria-live": "polite" });
    this.main.replaceChildren(
      el("aside", { "aria-label": "Runs and image" }, el("section", {}, this.tabs), this.pair, this.of, this.source.node),
      el("div", { class: "stage" }, this.table, this.nearest));
    this.setTab(chosen.tab);
  }

  setTab(tab) {
    this.chosen.tab = tab;
    for (const one of this.tabs.children) one.setAttribute("aria-selected", `${one.dataset.tab === tab}`);
    for (const node of [this.pair, this.table]) node.hidden = tab !== "scores";
    for (const node of [this.of, this.source.node, this.nearest]) node.hidden = tab === "scores";
  }

  exchange() {
    [this.a.value, this.b.value] = [this.b.value, this.a.value];
    this.compare();
  }

  async compare() {
    this.pair.hidden ||= this.scored.length < 2;
    if (this.scored.length < 2) {
      const found = this.scored.length ? `Only ${this.scored[0]} has scores.` : "No run has scores yet.";
      this.table.replaceChildren(state("empty", `${found} limpid evaluate RUN measures them; the scores of two runs are compared here.`));
      return;
    }
    const pair = { a: this.a.value, b: this.b.value };
    Object.assign(this.chosen, pair);
    try {
      const answer = await ask("compare/pair", pair, this.abort.signal);
      if (this.a.value === pair.a && this.b.value === pair.b) this.showTable(answer);
    } catch (error) {
      if (error.name !== "AbortError") this.table.replaceChildren(state("failed", error.message));
    }
  }

  showTable({ about, rows }) {
    const body = rows.map(({ name, values, interval, verdict }) =>
      el("tr", { class: verdict.endsWith("better") ? "apart" : "" },
        el("th", { scope: "row" }, name),
        ...values.map((value) => el("td", {}, value)),
        el("td", {}, interval.join(" .. ")),
        el("td", {}, verdict)));
    this.table.replaceChildren(
      el("table", {}, el("thead", {}, el("tr", {}, ...HEADS.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...body)),
      ...about.map((line) => el("p", { class: "hint" }, line)));
  }

  async openModel() {
    const model = { model: this.model.value, checkpoint: "" };
    this.chosen.model = model.model;
    this.begun = null;
    this.source.close();
    this.nearest.replaceChildren(state("empty", "Choose a sample, a training image or a file: the training images that are nearest to it are shown here."));
    try {
      const { shape } = await ask("sample/model", model, this.abort.signal);
      if (this.model.value !== model.model) return;
      [this.query, this.shape] = [model, shape];
      this.source.open(model, shape, true);
    } catch (error) {
      if (error.name === "AbortError" || this.model.value !== model.model) return;
      this.source.hint.textContent = "";
      this.nearest.replaceChildren(state("failed", error.message));
    }
  }

  async seek({ pixels, name, index }) {
    const begun = (this.begun = {});
    this.nearest.replaceChildren(state("loading", "Searching the training images …"));
    try {
      const found = await ask("compare/nearest", { model: this.query, pixels }, this.abort.signal);
      if (this.begun === begun) this.showNearest(pixels, index === null ? name : `training image ${index}`, found);
    } catch (error) {
      if (error.name !== "AbortError" && this.begun === begun) this.nearest.replaceChildren(state("failed", error.message));
    }
  }

  showNearest(pixels, name, { ratio, neighbours, count, nearest }) {
    const figure = (bytes, label, ...caption) => {
      const { canvas, paint } = pixelCanvas(this.shape, label);
      paint(decode(bytes));
      return el("figure", {}, canvas, el("figcaption", {}, ...caption));
    };
    const mirrored = nearest.some((one) => one.mirrored) ? " Mirror images count, since the recipe flips images." : "";
    this.nearest.replaceChildren(
      el("div", { class: "neighbours" },
        figure(pixels, "The image", el("b", {}, name ?? "the image")),
        el("div", {}, ...nearest.map((one) => figure(one.pixels, `Training image ${one.index}`,
          el("b", {}, one.distance), el("span", {}, `${one.name}, image ${one.index}${one.mirrored ? ", mirrored" : ""}`))))),
      el("p", {}, el("b", {}, `Ratio ${ratio.toFixed(2)}`), `: the distance to the nearest of ${count.toLocaleString("en")} training images, divided by the mean distance to the nearest ${neighbours}.`),
      el("p", { class: "hint" }, `0 is an exact copy; near 1, no training image is nearer than many others. Distances are Euclidean, of pixel values 0 to 255.${mirrored}`));
  }
}
