"""Callbacks of a training run; its log, checkpoints and sample grids are callbacks too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limpid.sampling.samples import Samples
from limpid.training.loop import StepMetrics
from limpid.training.training import Training


class Callback:
    """Derive from this class and override methods; each does nothing by default.

    With several processes `on_start` and `on_step` are called on all of them, the others on the main process only. An
    error that a method raises ends the run.
    """

    def on_start(self, training: Training) -> None:
        """Before the first step; also after the run has resumed, or gone back to an earlier checkpoint."""

    def on_step(self, step: StepMetrics, training: Training) -> None:
        """After each step. Its tensors are on the device: reading one in every step makes training slower."""

    def on_end(self, training: Training) -> None:
        """After the last step, whether the run has finished, was asked to stop, or failed."""

    def on_log(self, line: Mapping[str, Any], images_seen: int) -> None:
        """After a line was added to the log: mean loss since the last line, learning rate, gradient norm, speed."""

    def on_samples(self, samples: Samples, images_seen: int) -> None:
        """After a sample grid was generated, always from the same seeds and labels."""

    def on_checkpoint(self, path: Path, images_seen: int) -> None:
        """After a checkpoint was written."""

    def on_score(self, name: str, score: float, images_seen: int) -> None:
        """After the current weights were scored."""


EVENTS = [name for name in vars(Callback) if name.startswith("on_")]


class CallbackList(Callback):
    """Several callbacks as one: each event goes to all of them, in their order."""

    def __init__(self, callbacks: Sequence[Callback]):
        for callback in callbacks:
            if unknown := [name for name in dir(callback) if name.startswith("on_") and name not in EVENTS]:
                raise ValueError(
                    f"{type(callback).__name__}.{unknown[0]} is never called: choose from {', '.join(EVENTS)}"
                )
        self.callbacks = list(callbacks)

    def on_start(self, training: Training) -> None:
        for callback in self.callbacks:
            callback.on_start(training)

    def on_step(self, step: StepMetrics, training: Training) -> None:
        for callback in self.callbacks:
            callback.on_step(step, training)

    def on_end(self, training: Training) -> None:
        for callback in self.callbacks:
            callback.on_end(training)

    def on_log(self, line: Mapping[str, Any], images_seen: int) -> None:
        for callback in self.callbacks:
            callback.on_log(line, images_seen)

    def on_samples(self, samples: Samples, images_seen: int) -> None:
        for callback in self.callbacks:
            callback.on_samples(samples, images_seen)

    def on_checkpoint(self, path: Path, images_seen: int) -> None:
        for callback in self.callbacks:
            callback.on_checkpoint(path, images_seen)

    def on_score(self, name: str, score: float, images_seen: int) -> None:
        for callback in self.callbacks:
            callback.on_score(name, score, images_seen)


def crosses_multiple(images_seen: int, batch_size: int, period: int) -> bool:
    """Whether the last batch reached or passed a multiple of `period` images; a period of 0 is never."""
    return period > 0 and images_seen // period > max(images_seen - batch_size, 0) // period
