"""A run that is training in a folder, as its callbacks see it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from limpid.data import DataSource
from limpid.recipes.recipe import Recipe
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.log import logger
from limpid.sampling.checkpoints import CheckpointInfo, load_info
from limpid.storage import checkpoint
from limpid.storage.jsonl import JsonlLog
from limpid.training.anomalies import NonFiniteMonitor, NonFiniteStep
from limpid.training.callbacks import CallbackList
from limpid.training.meter import LossMeter
from limpid.training.run_folder import latest_of_run
from limpid.training.state import TrainState, load_state_dict, state_dict
from limpid.training.stop import StopRequest
from limpid.training.training import Training


@dataclass
class Run:
    """A run that is training, and the folder that holds it.

    With several processes all call the same methods at the same moments; only the main process writes, samples and
    scores.
    """

    training: Training
    folder: Path
    run_id: str
    log: JsonlLog
    meter: LossMeter
    nonfinite: NonFiniteMonitor
    stop: StopRequest = field(default_factory=StopRequest)
    callbacks: CallbackList = field(default_factory=lambda: CallbackList([]))
    seconds_untimed: float = 0.0
    """Time spent on sampling, scoring and saving, which is not training."""

    @property
    def recipe(self) -> Recipe:
        return self.training.recipe

    @property
    def state(self) -> TrainState:
        return self.training.state

    @property
    def source(self) -> DataSource:
        return self.training.source

    @property
    def runtime(self) -> Runtime:
        return self.training.runtime

    def clock(self) -> float:
        """Seconds of training, since an arbitrary moment."""
        return time.perf_counter() - self.seconds_untimed

    @contextmanager
    def sampling_aside(self) -> Iterator[None]:
        """A context for sampling during a run: it does not count as training time, ends when the run is asked to stop,
        and tolerates disk errors and non-finite samples."""
        with (
            self.pause_clock(),
            tolerate_disk_errors("the samples", (OSError, FloatingPointError)),
            self.stop.interruptible(),
            self.runtime.sampling_threads(),
        ):
            yield

    @contextmanager
    def pause_clock(self) -> Iterator[None]:
        """A context whose time does not count as training time."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds_untimed += time.perf_counter() - begin

    def stop_requested(self) -> bool:
        """Whether any process was asked to stop; all processes call this at the same moment."""
        return distributed.any_rank(self.stop.requested)

    def raise_if_nonfinite(self) -> None:
        """Raise NonFiniteError if a loss or gradient was not finite: the weights are unusable from that step on."""
        if wrong := self.nonfinite.read():
            raise NonFiniteError(wrong)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that are needed to resume; of sharded ones the shard of this process."""
        return state_dict(self.state) | {"meter": self.meter.total}

    def checkpoint_info(self) -> CheckpointInfo:
        """The metadata of a checkpoint, with which the model can be rebuilt from that file alone."""
        state, source = self.state, self.source
        return CheckpointInfo(
            images_seen=state.images_seen,
            image_shape=source.shape,
            class_names=source.class_names,
            recipe=self.recipe,
            data_position=state.data_position,
            skipped_batches=state.skipped_batches,
            class_counts=source.class_counts,
            run_id=self.run_id,
            data=source.fingerprint,
        )

    def newest_checkpoint(self) -> Path | None:
        """The newest intact checkpoint of this run."""
        return latest_of_run(self.recipe, self.folder, self.run_id)

    def resume(self, file: Path) -> None:
        """Restore the state and the log of a checkpoint. Raises ValueError if it is of another run.

        The main process reads the checkpoint and broadcasts it.
        """
        about = distributed.broadcast_object(lambda: load_info(file))
        tensors = distributed.broadcast_tensors(lambda: checkpoint.read_tensors(file))
        if "meter" not in tensors:  # an optimizer has no state before the first step
            advice = f"limpid train {self.folder} --init {self.folder} --run NEW begins another run with them"
            raise ValueError(f"{file} holds weights alone, without the state of an optimizer: {advice}")
        fixed = {name: value for name, value in self.tensors().items() if not name.startswith("optimizer.")}
        checkpoint.check_matches({n: t for n, t in tensors.items() if not n.startswith("optimizer.")}, fixed, file)
        self.meter.total.copy_(tensors["meter"])
        try:
            load_state_dict(self.state, tensors)
        except (LookupError, ValueError, RuntimeError) as error:
            raise ValueError(f"{file} does not fit: {str(error).splitlines()[0]}") from error
        self.state.images_seen = about.images_seen
        self.state.data_position = about.data_position
        self.state.skipped_batches = about.skipped_batches
        self.nonfinite = NonFiniteMonitor(self.runtime.device)
        if distributed.is_main_process():
            with tolerate_disk_errors("the log"):
                self.log.cut(about.images_seen)


class NonFiniteError(FloatingPointError):
    """A loss or a gradient was not finite."""

    def __init__(self, wrong: NonFiniteStep):
        super().__init__(str(wrong))
        self.wrong = wrong


@contextmanager
def tolerate_disk_errors(what: str, kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """A context in which errors of these kinds, such as a full disk while `what` is written, only cause a warning."""
    try:
        yield
    except kinds as error:
        logger.warning(f"cannot write {what} ({error}); training continues")
