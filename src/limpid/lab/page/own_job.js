/** The job of a view: the one that it started, or after a reload the newest of its kind. */

import { ask } from "./api.js";

/** Start a job of this kind; the view's button waits for the answer, and a refusal is shown beside it. */
export async function startJob(view, kind, query) {
  view.button.disabled = true;
  try {
    const job = await ask(`jobs/${kind}`, query);
    view.mine = job.id;
    if (view.job?.id !== job.id) view.job = job; // else an event has come before the answer, and knows more
    view.showError("");
    view.showJob();
    document.querySelector(".stage").scrollIntoView({ block: "nearest" }); // on a tablet it is above the settings
  } catch (error) {
    view.showError(error.message);
  } finally {
    view.button.disabled = false;
  }
}

/** Show the job of an event, unless it is not the view's, or is shown already as done. */
export function takeJob(view, kind, job) {
  if (job?.kind !== kind) return;
  if (job.id !== view.mine && (view.mine || job.created < (view.job?.created ?? 0))) return;
  const before = view.job;
  view.job = job;
  if (before?.id !== job.id || before.state !== "done") view.showJob();
}
