"""The log of a run: mean losses, speed, and warnings of anomalies."""

from collections import deque

from limpid.runtime import distributed
from limpid.runtime.log import logger
from limpid.training.active_run import Run, tolerate_disk_errors
from limpid.training.anomalies import loss_spike
from limpid.training.callbacks import Callback, crosses_multiple
from limpid.training.loop import StepMetrics
from limpid.training.step_times import StepTimes, advice
from limpid.training.training import Training


class LossLog(Callback):
    """Writes log.jsonl."""

    def __init__(self, run: Run):
        self.run = run
        self.recent_losses: deque[float] = deque(maxlen=20)
        """Losses of the last lines of the log."""
        self.speed_mark: tuple[int, float] = (0, 0.0)
        """Images seen, and the clock, at the last line of the log."""
        self.step_times = StepTimes()

    def on_start(self, training: Training) -> None:
        self.speed_mark = training.state.images_seen, self.run.clock()
        self.recent_losses.clear()
        if distributed.is_main_process():
            with tolerate_disk_errors("the log"):
                self.recent_losses.extend(line["loss"] for line in self.run.log.lines() if "loss" in line)

    def on_step(self, step: StepMetrics, training: Training) -> None:
        self.record(step)
        recipe = training.recipe
        if crosses_multiple(step.images_seen, recipe.batch_size, recipe.every.log) or training.finished:
            self.write_line(step)

    def record(self, step: StepMetrics) -> None:
        """Add the losses of a step, without waiting for the device; warn once if steps have become slow."""
        if (slow := self.step_times.add(self.run.clock())) and distributed.is_main_process():
            with self.run.pause_clock():
                logger.warning(f"{slow}: {advice(self.run.runtime)}")
        self.run.meter.add(step.loss, step.importance_weight, step.logsnr)
        self.run.nonfinite.check(step.data_position, step.loss, step.logsnr, step.grad_norm)

    def write_line(self, step: StepMetrics) -> None:
        """Write a line of the log: the mean loss and the speed, in images per second, since the last line."""
        run = self.run
        run.raise_if_nonfinite()
        (loss, parts), (images_before, clock_before) = run.meter.read(), self.speed_mark
        self.speed_mark = step.images_seen, run.clock()
        speed = (step.images_seen - images_before) / (self.speed_mark[1] - clock_before)
        if not distributed.is_main_process():
            return
        line = {"images_seen": step.images_seen, "loss": loss, "lr": step.lr, "grad_norm": step.grad_norm.item()}
        line |= {"loss_by_logsnr": parts, "images_per_second": round(speed, 1)}
        with tolerate_disk_errors("the log"):
            run.log.add(line)
        if problem := loss_spike(loss, self.recent_losses):
            logger.warning(f"{problem}, after {step.images_seen:,} images")
        self.recent_losses.append(loss)
        run.callbacks.on_log(line, step.images_seen)
