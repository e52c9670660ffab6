// The result of a job that samples: a grid for each setting, whose images open into their trajectories.

import { file } from "./api.js";
import { short } from "./chart.js";
import { code, el, save } from "./dom.js";
import { arrowKeys } from "./keyboard.js";
import { Trajectory } from "./trajectory.js";

const [MAX_CELL, GAP] = [128, 3]; // pixels of an image in the grid, and between two
export const LETTERS = ["A", "B", "C"]; // the names of the settings

export class SampleResult {
  constructor(job) {
    this.job = job;
  }

  /** Load the samples of every setting, and show them in `stage` unless another job is `wanted` by then. */
  async show(stage, wanted) {
    const { job } = this;
    const { settings } = job.result;
    const load = async (_, i) => createImageBitmap(await file(`api/jobs/${job.id}/${i}/atlas.png`));
    const atlases = await Promise.all(settings.map(load));
    if (!wanted()) return;
    this.trajectory = new Trajectory(job, atlases);
    this.node = el("div", { class: "results", "data-count": settings.length }, ...settings.map((_, i) => this.section(i)));
    stage.replaceChildren(this.node);
    this.fit();
  }

  close() {
    this.trajectory?.close();
  }

  /** Lay out the grids: every pixel of an image is as wide as the others, 1, 2, 3 ... pixels of the page. */
  fit() {
    const grids = this.node?.isConnected ? this.node.querySelectorAll(".grid") : [];
    if (!grids.length) return;
    const { n, shape, settings } = this.job.result;
    const columns = Math.ceil(Math.sqrt(n * (settings.length > 1 ? 0.8 : 1.6)));
    const room = Math.min(MAX_CELL, grids[0].clientWidth / columns - GAP);
    for (const grid of grids) {
      grid.style.setProperty("--columns", columns);
      grid.style.setProperty("--cell", `${shape[2] * Math.max(1, Math.floor(room / shape[2]))}px`);
    }
  }

  section(i) {
    const { parameters, result: { n, settings } } = this.job;
    const { seconds, evaluations, command, python } = settings[i];
    const letter = settings.length > 1 ? `${LETTERS[i]}  ` : "";
    return el("section", { class: `result ${LETTERS[i].toLowerCase()}` },
      el("h2", {}, `${letter}${parameters.settings[i].sampler.kind}, ${parameters.settings[i].steps} steps`),
      el("p", { class: "facts" }, `${evaluations} NFE · ${seconds.toFixed(seconds < 10 ? 1 : 0)} s · ${short(Number((n / seconds).toPrecision(2)))} images/s`),
      this.grid(i), this.downloads(i),
      el("details", {}, el("summary", {}, "The same from the command and from Python"), code(command), code(python)));
  }

  grid(i) {
    const { parameters, result: { n, labels } } = this.job;
    return arrowKeys(el("div", { class: "grid" }, ...Array.from({ length: n }, (_, j) => {
      const title = `seed ${parameters.seed + j}${labels.length ? `, ${labels[j]}` : ""}`;
      return el("button", { title, "aria-label": `Trajectory of ${title}`, onclick: () => this.trajectory.open(j) }, this.trajectory.final(i, j));
    })));
  }

  downloads(i) {
    const { id, parameters: { path } } = this.job;
    const name = `${path.split(/[\\/]/).pop()}-${LETTERS[i].toLowerCase()}`;
    const error = el("p", { class: "error", role: "alert", hidden: true });
    const download = (text, result, suffix) => {
      const act = async () => {
        button.disabled = true;
        await file(`api/jobs/${id}/${i}/${result}`).then((blob) => save(blob, `${name}.${suffix}`), ({ message }) => {
          [error.hidden, error.textContent] = [false, message];
        });
        button.disabled = false;
      };
      const button = el("button", { onclick: act }, text);
      return button;
    };
    return el("div", { class: "downloads" }, download("PNG", "grid.png", "png"), download("npz", "samples.npz", "npz"), download("Animation", "denoising.webp", "webp"), error);
  }
}
