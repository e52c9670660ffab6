"""The command as torchrun starts it, with a fault in the last of its processes: `ranks.py FAULT train ...`."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from limpid.cli.main import main
from limpid.runtime import distributed
from limpid.sampling import figures
from limpid.training.loop import StepMetrics
from limpid.training.loss_log import LossLog


def break_down() -> None:
    raise RuntimeError("the fan of the last machine has stopped")


FAULTS: dict[str, Callable[[], object]] = {
    "none": lambda: None,
    "raise": break_down,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


if __name__ == "__main__":
    fault, *words = sys.argv[1:]
    note = LossLog.record

    def noting(self: LossLog, step: StepMetrics) -> None:
        if fault == "slow":
            time.sleep(0.2)
        elif distributed.rank() == distributed.world_size() - 1 and step.data_position == 112:
            FAULTS[fault]()
        note(self, step)

    LossLog.record = noting
    figures.final_figures = lambda *_: iter(())
    code = main(words)
    # One that is left asks for Python when there is none any more, and the process aborts: one time in fifteen.
    left = [name for task in Path("/proc/self/task").glob("*/comm") if "gloo" in (name := task.read_text())]
    sys.exit(f"threads are left: {left}" if code == 0 and left else code)
