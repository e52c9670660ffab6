"""Trackers: the log, sample grids and scores of a run, live in TensorBoard or Weights & Biases.

A tracker works in a thread of its own from the files of the run, so it can neither slow the run nor stop it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

from limpid.interop.run_history import RunHistory, read_history
from limpid.interop.tensorboard_events import TensorBoardEvents, check_tensorboard_installed
from limpid.interop.wandb_run import WandbRun, check_wandb_installed
from limpid.recipes.serialize import match_choice
from limpid.runtime import distributed
from limpid.runtime.log import logger
from limpid.runtime.terminal import printable
from limpid.sampling.samples import Samples
from limpid.training.callbacks import Callback
from limpid.training.training import Training

TrackerKind: TypeAlias = Literal["tensorboard", "wandb"]
SECONDS_AT_END = 20.0
"""Seconds that the end of a run waits for its tracker."""
MAX_TRACKER_QUEUE = 10_000
"""Events that may wait for a tracker; a tracker that is slower is dropped."""


class TrackerWriter(Protocol):
    """The destination of a tracker. It is opened with the history of the run."""

    def add_line(self, line: Mapping[str, Any], images_seen: int) -> None: ...

    def add_grid(self, grid: Path, images_seen: int) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class TrackerBackend(NamedTuple):
    """How a tracker is opened, and the check that its package is installed."""

    open: Callable[[Path, RunHistory], TrackerWriter]
    check: Callable[[], None]


BACKENDS: dict[str, TrackerBackend] = {
    "tensorboard": TrackerBackend(TensorBoardEvents, check_tensorboard_installed),
    "wandb": TrackerBackend(WandbRun, check_wandb_installed),
}
assert set(BACKENDS) == set(get_args(TrackerKind))


class Tracker(Callback):
    """Shows a run in another program while it trains: `Tracker("tensorboard", "runs/photos")`, with the folder of the
    run.

    It writes to the folder `tensorboard` or `wandb` of the run. A tracker that fails, or does not keep up, is dropped
    with a warning, and the run continues. Raises ValueError for another kind, or if its package is missing.
    """

    def __init__(self, kind: TrackerKind, run: Path | str) -> None:
        self.kind, self.run = match_choice("tracker", kind, BACKENDS), Path(run)
        self.backend = BACKENDS[self.kind]
        self.backend.check()
        self.writer: TrackerWriter | None = None
        self.thread: Thread | None = None
        self.waiting: Queue[Callable[[], None] | None] = Queue()
        self.dropped = False

    def on_start(self, training: Training) -> None:
        if not distributed.is_main_process():
            return
        if self.thread is None:
            self.thread = Thread(target=self._work, name=f"limpid {self.kind}", daemon=True)
            self.thread.start()
        self._clear()
        # Read now, before a later line is written: the log is complete, also after a resume or a rollback.
        try:
            history, seen = read_history(self.run), training.state.images_seen
        except (OSError, ValueError) as error:
            return self._drop(error)
        history = history._replace(grids={at: grid for at, grid in history.grids.items() if at <= seen})
        self._add(lambda: self._open(history))

    def on_log(self, line: Mapping[str, Any], images_seen: int) -> None:
        line = dict(line)
        self._add(lambda: self._write(lambda writer: writer.add_line(line, images_seen)))

    def on_score(self, name: str, score: float, images_seen: int) -> None:
        self._add(lambda: self._write(lambda writer: writer.add_line({name: score}, images_seen)))

    def on_samples(self, samples: Samples, images_seen: int) -> None:
        grid = self.run / "samples" / f"{images_seen:012d}.png"
        self._add(lambda: self._write(lambda writer: writer.add_grid(grid, images_seen)))

    def on_end(self, training: Training) -> None:
        if self.thread is None:
            return
        self.waiting.put(None)
        self.thread.join(SECONDS_AT_END)
        if self.thread.is_alive():
            self._drop(TimeoutError(f"it did not end within {SECONDS_AT_END:.0f} s"))
        self.thread = None

    def _add(self, task: Callable[[], None]) -> None:
        if self.dropped or self.thread is None:  # before the start: those events are in the history
            return
        if self.waiting.qsize() >= MAX_TRACKER_QUEUE:
            self._drop(TimeoutError(f"{MAX_TRACKER_QUEUE:,} values wait for it"))
        else:
            self.waiting.put(task)

    def _clear(self) -> None:
        """Discard waiting events, since the run was rolled back to an earlier checkpoint."""
        try:
            while True:
                self.waiting.get_nowait()
        except Empty:
            pass

    def _work(self) -> None:
        """Run the tasks in order, until the end or a failure."""
        try:
            while (task := self.waiting.get()) is not None and not self.dropped:
                task()
            self._close()
        except (Exception, SystemExit) as error:
            self._drop(error)

    def _open(self, history: RunHistory) -> None:
        self._close()
        self.writer = self.backend.open(self.run / self.kind, history)

    def _write(self, action: Callable[[TrackerWriter], None]) -> None:
        if self.writer is not None:
            action(self.writer)
            if self.waiting.empty():
                self.writer.flush()

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None

    def _drop(self, error: BaseException) -> None:
        """Warn once, and ignore all later events."""
        if not self.dropped:
            self.dropped = True
            reason = printable(f"{type(error).__name__}: {error}").splitlines()[0]
            logger.warning(f"tracking with {self.kind} has failed ({reason}): the run continues without it")
