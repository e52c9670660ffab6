"""A first sample grid after a minute of training, to see early whether a run learns anything."""

from pathlib import Path

from limpid.runtime import distributed
from limpid.runtime.log import logger
from limpid.sampling import figures
from limpid.sampling.samples import Samples
from limpid.training.active_run import Run, tolerate_disk_errors
from limpid.training.callbacks import Callback, crosses_multiple
from limpid.training.loop import StepMetrics
from limpid.training.training import Training

FIRST_PREVIEW = 60.0
"""Seconds of training before the first preview; the interval doubles with each one."""
PREVIEW_BUDGET = 10.0
"""Seconds that sampling a preview may take."""


class FirstPreview(Callback):
    """Writes samples/preview.png, one file that is replaced, until the first regular grid of the run.

    It depends on the clock, so a resumed run does not reproduce it.
    """

    def __init__(self, run: Run):
        self.run = run
        self.pending = False
        self.due_at = 0.0
        """On the clock of the run."""
        self.interval = FIRST_PREVIEW

    @property
    def path(self) -> Path:
        return self.run.folder / "samples" / "preview.png"

    def on_start(self, training: Training) -> None:
        self.interval, self.due_at = FIRST_PREVIEW, self.run.clock() + FIRST_PREVIEW
        grids = self.run.folder / "samples"
        self.pending = training.recipe.every.sample > 0 and distributed.broadcast_object(
            lambda: not any(grids.glob("[0-9]*.png"))
        )

    def on_step(self, step: StepMetrics, training: Training) -> None:
        recipe = training.recipe
        if crosses_multiple(step.images_seen, recipe.batch_size, recipe.every.sample):
            self.pending = False
        if not self.pending or training.finished:
            return
        overdue = distributed.is_main_process() and self.run.clock() >= self.due_at
        if distributed.any_rank(overdue) and not self.run.stop_requested():
            self.due_at, self.interval = self.run.clock() + self.interval, 2 * self.interval
            self.sample()

    def on_samples(self, samples: Samples, images_seen: int) -> None:
        self.remove()

    def on_end(self, training: Training) -> None:
        if training.finished and distributed.is_main_process():
            self.remove()

    def remove(self) -> None:
        """Remove the preview, which a regular grid or the final figures replace."""
        with tolerate_disk_errors("the samples"):
            self.path.unlink(missing_ok=True)

    def sample(self) -> None:
        """Sample a preview; a request to stop the run ends it."""
        run = self.run
        run.raise_if_nonfinite()
        pipeline = run.training.live_pipeline()
        if not distributed.is_main_process():
            return
        with run.sampling_aside():
            samples = figures.preview_samples(pipeline, PREVIEW_BUDGET)
            figures.save_sample_grid(samples, self.path)
            logger.info(f"preview after {run.state.images_seen:,} images: {self.path}")
