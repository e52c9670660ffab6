"""The progress of training as a line that is updated in place, and durations in words."""

import sys
import time
from typing import TextIO

from limpid.training.callbacks import Callback
from limpid.training.loop import StepMetrics
from limpid.training.training import Training


class TrainingProgress(Callback):
    """One line that is updated in place, for a notebook: images seen, loss, speed, and the time left or taken."""

    SECONDS = 0.5
    """Between two updates: reading the loss makes the host wait for a GPU."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream, self.begin, self.last, self.first = stream, 0.0, 0.0, 0

    def on_start(self, training: Training) -> None:
        self.begin, self.first = time.perf_counter(), training.state.images_seen

    def on_step(self, step: StepMetrics, training: Training) -> None:
        now = time.perf_counter()
        if now - self.last < self.SECONDS and not training.finished:
            return
        self.last, total = now, training.recipe.duration
        speed = (step.images_seen - self.first) / max(now - self.begin, 1e-9)
        seconds = now - self.begin if training.finished else (total - step.images_seen) / max(speed, 1e-9)
        time_in_words = f"in {duration(seconds)}" if training.finished else f"{duration(seconds)} left"
        loss = step.loss.mean().item()
        line = f"{step.images_seen:,} of {total:,} images  loss {loss:.4f}  {speed:,.0f} images/s  {time_in_words}"
        stream = self.stream or sys.stdout
        stream.write(f"\r{line:<100}" + "\n" * training.finished)
        stream.flush()


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def duration(seconds: float) -> str:
    """A duration in words: 42 s, 3 min 20 s, 5 h 10 min."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"
