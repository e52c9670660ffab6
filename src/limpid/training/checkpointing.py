"""The checkpoints of a run, and the EMA snapshots from which EMAs of other lengths are built afterwards."""

from dataclasses import replace

from limpid.optim.ema import folder_name
from limpid.recipes.serialize import to_dict
from limpid.runtime import distributed
from limpid.runtime.fsdp import find_desynced, gather_full
from limpid.runtime.log import logger
from limpid.storage import checkpoint
from limpid.training.active_run import Run, tolerate_disk_errors
from limpid.training.callbacks import Callback, crosses_multiple
from limpid.training.loop import StepMetrics
from limpid.training.training import Training

MAX_UNSAVED = 600.0
"""Seconds of training after which a checkpoint is saved in any case, so that a crash costs no more."""


class Checkpoints(Callback):
    """Writes checkpoints/."""

    def __init__(self, run: Run):
        self.run = run
        self.saved_at = run.clock()
        """On the clock of the run; set also when saving fails, so that not every step tries again."""

    def on_start(self, training: Training) -> None:
        self.saved_at = self.run.clock()

    def on_step(self, step: StepMetrics, training: Training) -> None:
        every, batch_size = training.recipe.every, training.recipe.batch_size
        due = any(crosses_multiple(step.images_seen, batch_size, period) for period in (every.save, every.milestone))
        if due or training.finished or self.overdue():
            self.save(last=training.finished)

    def overdue(self) -> bool:
        """Whether the newest checkpoint is too old by the clock of the main process; waits for no GPU."""
        late = self.run.clock() - self.saved_at >= MAX_UNSAVED
        return distributed.any_rank(late and distributed.is_main_process())

    def save(self, last: bool = False) -> None:
        """Write a checkpoint. If that fails the run continues, unless this is the `last` checkpoint.

        Raises OSError then, with the newest intact one; FloatingPointError if the processes hold different weights.
        """
        run = self.run
        self.saved_at = run.clock()
        run.raise_if_nonfinite()
        if differing := find_desynced(run.tensors()):
            raise FloatingPointError(f"the processes no longer hold the same {differing[0]}: are their machines alike?")
        tensors = gather_full(run.tensors())
        if not distributed.is_main_process():
            return
        try:
            with run.pause_clock():
                run.log.sync()
                path = checkpoint.save_checkpoint(
                    run.folder / "checkpoints",
                    run.state.images_seen,
                    tensors,
                    to_dict(run.checkpoint_info()),
                    milestone=run.recipe.every.milestone,
                )
        except OSError as error:
            if last:
                good = run.newest_checkpoint() or "none"
                raise OSError(f"cannot write a checkpoint ({error}); the last good one is {good}") from error
            logger.warning(f"cannot write a checkpoint ({error}); training continues until the next")
        else:
            run.callbacks.on_checkpoint(path, run.state.images_seen)


class EmaSnapshots(Callback):
    """Writes snapshots/: the power-function EMAs at intervals, in half precision."""

    def __init__(self, run: Run):
        self.run = run

    def on_step(self, step: StepMetrics, training: Training) -> None:
        if (
            crosses_multiple(step.images_seen, training.recipe.batch_size, training.recipe.every.snapshot)
            or training.finished
        ):
            self.save()

    def save(self) -> None:
        """Write the EMAs as they are now."""
        run = self.run
        run.raise_if_nonfinite()
        with run.pause_clock(), tolerate_disk_errors("an EMA snapshot"):
            for std, net in zip(run.recipe.ema_snapshots, run.state.power_emas, strict=True):
                full = gather_full(net.state_dict())
                if distributed.is_main_process():
                    tensors = {f"ema.{name}": value.half() for name, value in full.items()}
                    about = replace(run.checkpoint_info(), std=std)
                    folder = run.folder / "snapshots" / folder_name(std)
                    checkpoint.save_checkpoint(folder, about.images_seen, tensors, to_dict(about), keep=0)
