"""The process of the jobs: reads one as a line of JSON, and writes lines of JSON that change it.

It ends when its input does, so that it never outlives the server.
"""

import json
import os
import queue
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from limpid.runtime.errors import error_line

KINDS_OF_JOBS = {
    "sample": "limpid.lab.sample_job:run_sample_job",
    "edit": "limpid.lab.edit_job:run_edit_job",
}
"""The function of each kind of job: of its parameters, its folder and a report; returns its result."""


def main() -> None:
    """Do the jobs that are read from stdin."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    orders: queue.Queue[str] = queue.Queue()
    threading.Thread(target=read_orders, args=(orders,), daemon=True).start()
    for function in KINDS_OF_JOBS.values():
        import_module(function.split(":")[0])
    while True:
        do(json.loads(orders.get()), answers)


def read_orders(orders: "queue.Queue[str]") -> None:
    """Pass on what is read from stdin; at its end the process ends, whatever it is doing."""
    for line in sys.stdin:
        orders.put(line)
    os._exit(0)


def do(order: dict[str, Any], answers: TextIO) -> None:
    """Do one job, and write how it goes and ends."""

    def change(**changes: Any) -> None:
        answers.write(json.dumps(changes) + "\n")
        answers.flush()

    module, name = KINDS_OF_JOBS[order["kind"]].split(":")
    try:
        act = getattr(import_module(module), name)
        result = act(order["parameters"], Path(order["folder"]), lambda progress: change(progress=progress))
        change(state="done", result=result)
    except (ValueError, FloatingPointError, OSError, MemoryError) as error:
        change(state="failed", error=error_line(error))
    except Exception as error:  # a fault of limpid: the next job may be done all the same
        traceback.print_exc()
        change(state="failed", error=f"{type(error).__name__}: {error_line(error)}")


if __name__ == "__main__":
    main()
