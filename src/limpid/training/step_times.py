"""The duration of training steps, and a warning when they become slow, as when another program uses the CPU."""

from collections import deque
from statistics import median

import torch

from limpid.runtime import cpu
from limpid.runtime.device import Runtime

SLOW = 3.0
"""Steps that take more than this many times their usual duration cause a warning."""
RECENT = 60.0
"""Seconds that steps must be slow before the warning."""
MIN_SECONDS = 1.0
"""Seconds of a measurement, so that short steps are not measured one by one."""
MIN_MEASUREMENTS = 3
"""Measurements that are needed before and after steps become slow: a single one may be a suspended program."""


class StepTimes:
    """The durations of steps in seconds: the recent ones, and those before."""

    def __init__(self):
        self.before: deque[float] = deque(maxlen=1000)
        self.recent: deque[tuple[float, float]] = deque()
        """Seconds of each measurement of the last minute, and of a step in it."""
        self.start: float | None = None
        self.steps = 0
        self.warned = False

    def add(self, clock: float) -> str:
        """Record a step that ended at `clock` seconds; returns a warning, once, if steps have become slow."""
        if self.start is None:
            self.start = clock
            return ""
        self.steps += 1
        seconds = clock - self.start
        if seconds < MIN_SECONDS:
            return ""
        self.recent.append((seconds, seconds / self.steps))
        self.start, self.steps = clock, 0
        while len(self.recent) > MIN_MEASUREMENTS and sum(s for s, _ in self.recent) - self.recent[0][0] >= RECENT:
            self.before.append(self.recent.popleft()[1])
        if self.warned or len(self.before) < MIN_MEASUREMENTS:
            return ""
        now, usual = median(step for _, step in self.recent), median(self.before)
        self.warned = now >= SLOW * usual
        return f"a step takes {now:.2g} s now, usually {usual:.2g} s" if self.warned else ""


def advice(runtime: Runtime) -> str:
    """Advice for steps that another program makes slow; on a CPU the best number of threads is measured."""
    if runtime.device != "cpu":
        return f"see what else uses {runtime.device} or the CPU"
    threads = torch.get_num_threads()
    best = cpu.best_thread_count(threads)
    if best == threads:
        return "another program may be using the CPU, and fewer threads would not be faster"
    return (
        f"another program may be using the CPU. --threads {best} would be faster than {threads}: "
        "stop the run and resume it with that; its results are then the same up to rounding"
    )
