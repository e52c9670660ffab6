// The progress of a job, with a preview where the job sends some, and a button that cancels it.

import { ask, file } from "./api.js";
import { el } from "./dom.js";

export class JobProgress {
  /** `describe(job)` says in words how far a job is that has begun to count. */
  constructor(stage, describe) {
    [this.stage, this.describe] = [stage, describe];
  }

  show(job) {
    if (this.id !== job.id || !this.node.isConnected) this.build(job);
    const { done, total, setting, preview } = job.progress;
    if (job.state === "queued") this.text.textContent = "Waiting for the jobs before it …";
    else if (!total) this.text.textContent = "Loading the model …";
    else {
      this.text.textContent = this.describe(job);
      [this.bar.max, this.bar.value] = [total, done];
    }
    if (preview > this.version) {
      this.version = preview;
      this.showPreview(`api/jobs/${job.id}/${setting}/preview.png`);
    }
  }

  build(job) {
    [this.id, this.version] = [job.id, 0];
    this.bar = el("progress", { "aria-label": "Progress" });
    this.text = el("p", {});
    this.preview = el("img", { class: "pixels preview", alt: "The samples as they are predicted now", hidden: true });
    const cancel = el("button", { onclick: () => ask(`jobs/${job.id}/cancel`).catch(() => {}) }, "Cancel");
    this.node = el("div", { class: "state working" }, this.preview, this.text, this.bar, cancel);
    this.stage.replaceChildren(this.node);
  }

  showPreview(path) {
    const { preview } = this;
    file(path).then((blob) => {
      URL.revokeObjectURL(preview.src);
      preview.src = URL.createObjectURL(blob);
      preview.hidden = false;
    }, () => {}); // the next one comes soon
  }
}
