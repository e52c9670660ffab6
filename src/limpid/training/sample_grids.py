"""The sample grids of a run, always from the same seeds, so that they can be compared."""

from pathlib import Path

from limpid.runtime import distributed
from limpid.runtime.log import logger
from limpid.sampling import figures
from limpid.storage.atomic import fsync
from limpid.training.active_run import Run
from limpid.training.anomalies import degenerate_samples
from limpid.training.callbacks import Callback, crosses_multiple
from limpid.training.loop import StepMetrics
from limpid.training.training import Training


class SampleGrids(Callback):
    """Writes samples/."""

    def __init__(self, run: Run):
        self.run = run
        self.announced = False

    @property
    def path(self) -> Path:
        """The file of the current grid."""
        return self.run.folder / "samples" / f"{self.run.state.images_seen:012d}.png"

    def due(self) -> bool:
        """Whether a grid is due after the last batch."""
        recipe = self.run.recipe
        return crosses_multiple(self.run.state.images_seen, recipe.batch_size, recipe.every.sample)

    def on_start(self, training: Training) -> None:
        """Sample the grid that is missing if the run was stopped just before it."""
        if self.due() and distributed.broadcast_object(lambda: not self.path.exists()):
            self.sample()

    def on_step(self, step: StepMetrics, training: Training) -> None:
        if self.due() and not self.run.stop_requested():
            self.sample()

    def sample(self) -> None:
        """Sample a grid; a request to stop the run ends it."""
        run = self.run
        run.raise_if_nonfinite()
        pipeline = run.training.live_pipeline()
        if not distributed.is_main_process():
            return
        samples = None
        with run.sampling_aside():
            samples = figures.preview_samples(pipeline)
            fsync(figures.save_sample_grid(samples, self.path))
            if problem := degenerate_samples(samples.pixels):
                logger.warning(f"{problem}, after {run.state.images_seen:,} images")
            self.announce(figures.omissions(samples))
        if samples is not None:
            run.callbacks.on_samples(samples, run.state.images_seen)

    def announce(self, missing: str) -> None:
        """Log once which samples the grids lack because sampling is slow on this machine."""
        if missing and not self.announced:
            why = f"to take no more than {figures.GRID_SECONDS:.0f} s"
            logger.info(f"sample grids lack {missing}, {why}; to generate them: limpid sample {self.run.folder}")
            self.announced = True
