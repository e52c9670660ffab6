"""Runs in processes of their own, which can be killed at any moment: after a time, or as they touch the disk again."""

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from tiny_recipes import CPU

from limpid.bench.timing import PROCESSES as LIVES
from limpid.recipes.recipe import Recipe
from limpid.runtime.log import printed_log
from limpid.sampling import figures
from limpid.storage import jsonl
from limpid.training.run import run

# Forked from a process that has imported what they need and done nothing with it: seconds less for each life.
PRELOADED = ["limpid.training.run", "limpid.cli.evaluate", "limpid.cli.sample", "torch._dynamo", "pytest"]
PRELOADED += ["matplotlib.pyplot", "matplotlib.backends.backend_agg", "torch.distributed.fsdp", "torch.distributed.run"]
LIVES.set_forkserver_preload(PRELOADED)


def born(recipe: Recipe, folder: Path, output: Path, after: int = 0, touches: int = 0) -> BaseProcess:
    """A process that trains, and a file for what it says.

    With `place` it is killed as it is about to touch the disk for the nth time after the log's line at this many
    images.
    """
    process = LIVES.Process(target=live, args=(recipe, folder, output, after, touches))
    process.start()
    return process


def logged(folder: Path) -> int:
    """How far the log of a run goes."""
    return max((line["images_seen"] for line in jsonl.read_jsonl(folder / "log.jsonl")), default=0)


def live(recipe: Recipe, folder: Path, output: Path, after: int, touches: int) -> None:
    torch.set_num_threads(1)
    figures.seconds_per_image = lambda *_: 1e-6  # a busy machine would leave images out of its grids
    if touches:
        kill_at_touch(folder, after, touches)
    with output.open("w", buffering=1) as sys.stdout:
        sys.stderr = sys.stdout
        with printed_log():
            run(recipe, folder, CPU)


def kill_at_touch(folder: Path, after: int, touches: int) -> None:
    """Kill this process when it is about to open, rename, remove, write or wait for a file of the folder so often."""
    left, reached, looking = touches, after == 0, False

    def touch() -> None:
        nonlocal left, reached, looking
        if not reached and not looking:
            looking = True  # which touches the disk itself
            reached, looking = logged(folder) >= after, False
        left -= reached
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in ("open", "os.rename", "os.remove") and str(args[0]).startswith(str(folder)):
            touch()

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any) -> Any:
            touch()
            return act(*args)

        return counting

    sys.addaudithook(hook)
    os.fsync, os.write = counted(os.fsync), counted(os.write)
