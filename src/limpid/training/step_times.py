"""The duration of training steps, and a warning when they become slow, as when another program uses the CPU."""

from collections import deque
from statistics import median

import torch

from limpid.runtime import cpu
from limpid.runtime.device import Runtime

SLOW = 3.0
"""Steps of this many times their usual duration are warned of."""
MINUTE = 60.0
"""Seconds that steps must be slow before the warning."""
PART = 1.0
"""Seconds of steps that count as one measurement, so that short steps are not measured one by one."""
FEWEST = 3
"""Measurements that are needed on either side: one alone may be a program that was suspended."""


class StepTimes:
    """The durations of steps in seconds: the recent ones, and those before."""

    def __init__(self):
        self.before: deque[float] = deque(maxlen=1000)
        self.recent: deque[tuple[float, float]] = deque()
        """Seconds of a measurement, and for each of its steps: those of the last minute."""
        self.since: float | None = None
        self.steps = 0
        self.said = False

    def add(self, clock: float) -> str:
        """Record a step that ended at `clock` seconds; returns a warning, once, if steps have become slow."""
        if self.since is None:
            self.since = clock
            return ""
        self.steps += 1
        seconds = clock - self.since
        if seconds < PART:
            return ""
        self.recent.append((seconds, seconds / self.steps))
        self.since, self.steps = clock, 0
        while len(self.recent) > FEWEST and sum(s for s, _ in self.recent) - self.recent[0][0] >= MINUTE:
            self.before.append(self.recent.popleft()[1])
        if self.said or len(self.before) < FEWEST:
            return ""
        now, usual = median(step for _, step in self.recent), median(self.before)
        self.said = now >= SLOW * usual
        return f"a step takes {now:.2g} s now, usually {usual:.2g} s" if self.said else ""


def advice(runtime: Runtime) -> str:
    """What would make steps faster while another program uses the same CPU, measured if training is on a CPU."""
    if runtime.device != "cpu":
        return f"see what else uses {runtime.device} or the CPU"
    threads = torch.get_num_threads()
    best = cpu.best_thread_count(threads)
    if best == threads:
        return "another program may be using the CPU, and fewer threads would not be quicker beside it"
    return (
        f"another program may be using the CPU. Beside it --threads {best} would be quicker than {threads}: "
        "stop the run, and go on with that; it is then the same run up to rounding"
    )
