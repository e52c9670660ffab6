"""Several processes as torchrun starts them, forked from a process that has imported torch already."""

import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from killable import LIVES

from limpid.runtime import distributed
from limpid.runtime.log import printed_log
from limpid.sampling import figures

Act = Callable[..., object]


class Ended(NamedTuple):
    """The exit codes of the processes, by rank, and the output of each on both streams."""

    codes: list[int | None]
    output: list[str]
    seconds: float


def together(count: int, folder: Path, act: Act, *given: object, final_figures: bool = False) -> Ended:
    """Call `act(*given)` in `count` processes at once, whose output goes to files in `folder`. Without `final_figures`
    a run that ends in them makes no figures, which take longer than the training of a tiny network."""
    folder.mkdir(parents=True, exist_ok=True)
    begun, port, output = time.monotonic(), free_port(), [folder / f"output-{rank}.txt" for rank in range(count)]
    group = [
        LIVES.Process(target=live, args=(rank, count, port, output[rank], final_figures, act, given))
        for rank in range(count)
    ]
    for process in group:
        process.start()
    wait(group)
    return Ended(
        [process.exitcode for process in group], [file.read_text() for file in output], time.monotonic() - begun
    )


def wait(group: Sequence[BaseProcess]) -> None:
    """Wait until all have ended; a process that has not after 300 seconds is killed, and fails the test."""
    deadline = time.monotonic() + 300
    for process in group:
        process.join(max(0, deadline - time.monotonic()))
    late = [process for process in group if process.is_alive()]
    for process in late:
        process.kill()
        process.join()
    assert not late, f"{len(late)} of {len(group)} processes did not end"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """The variables in which torchrun gives a process its rank."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    return {name: str(number) for name, number in numbers.items()} | {"MASTER_ADDR": "127.0.0.1"}


def set_rank(rank: int, count: int, patch: pytest.MonkeyPatch) -> None:
    """Let this process believe that it is one of `count` processes; it has no connection to others."""
    for name, value in environment(rank, count, 0).items():
        patch.setenv(name, value)


def live(
    rank: int, count: int, port: int, output: Path, final_figures: bool, act: Act, given: tuple[object, ...]
) -> None:
    torch.set_num_threads(1)
    if not final_figures:
        figures.final_figures = lambda *_: iter(())
    distributed.ERROR_WAIT = 0.1  # there is no torchrun to end the others meanwhile
    os.environ |= environment(rank, count, port)
    with output.open("w", buffering=1) as sys.stdout:
        sys.stderr = sys.stdout
        try:
            with distributed.distributed_session(), printed_log():
                act(*given)
        except Exception:
            traceback.print_exc()
            sys.exit(1)
