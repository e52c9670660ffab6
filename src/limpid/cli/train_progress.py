"""The progress of `limpid train`: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from limpid.runtime import distributed
from limpid.runtime.log import logger
from limpid.training.callbacks import Callback
from limpid.training.loop import StepMetrics
from limpid.training.progress import duration
from limpid.training.training import Training


class ProgressDisplay(Callback):
    """Shows the progress of a run, with its loss and speed at each line of the log."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.visible = self.console.is_terminal and distributed.is_main_process()
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, disable=not self.visible)
        self.task = self.bar.add_task("starting")
        self.total, self.begin = 0, 0.0

    def on_start(self, training: Training) -> None:
        self.total, self.begin = training.recipe.duration, time.perf_counter()
        self.bar.update(self.task, total=self.total, completed=training.state.images_seen)
        self.bar.start()

    def on_step(self, step: StepMetrics, training: Training) -> None:
        self.bar.update(self.task, completed=step.images_seen)

    def on_end(self, training: Training) -> None:
        self.bar.stop()

    def on_log(self, line: Mapping[str, Any], images_seen: int) -> None:
        speed = line["images_per_second"]
        state = f"loss {line['loss']:.4f}  {speed:,.0f} images/s"
        self.bar.update(self.task, description=state)
        if not self.visible:
            left = f"{duration((self.total - images_seen) / max(speed, 1e-9))} left"
            when = left if images_seen < self.total else f"in {duration(time.perf_counter() - self.begin)}"
            logger.info(f"{images_seen:>12,} of {self.total:,} images  {state}  {when}")
