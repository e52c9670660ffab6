"""How long work takes beside other work; how much arithmetic and memory it needs; how fast the device can be.

What is compared takes turns, A B A B, so that whatever else the machine does strikes all of it alike. A figure is the
median over the turns, beside its quartiles.
"""

import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Work: TypeAlias = Callable[[], Any]
Clock: TypeAlias = Callable[[int], float]
"""The seconds that it takes to do a work so many times."""
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Measurement:
    """What was measured, turn by turn."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.rounds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Half of the turns lie between these."""
        low, _, high = quantiles(self.rounds * 2 if len(self.rounds) == 1 else self.rounds, n=4, method="inclusive")
        return low, high

    def ratio(self, other: "Measurement") -> "Measurement":
        """This divided by another measured in the same turns, turn by turn."""
        return Measurement(tuple(a / b for a, b in zip(self.rounds, other.rounds, strict=True)))

    def per(self, amount: float) -> "Measurement":
        """So much in this many seconds, as a rate."""
        return Measurement(tuple(amount / turn for turn in self.rounds))


def interleaved(clocks: Mapping[str, Clock], rounds: int = 7, seconds: float = 1.0) -> dict[str, Measurement]:
    """Seconds that each work takes once, in `rounds` turns of about `seconds` or one time, in the order given.

    Each is done twice before: what is compiled, allocated or looked up at first does not count.
    """
    counts = {}
    for name, clock in clocks.items():
        clock(1)
        counts[name] = max(1, round(seconds / max(clock(1), 1e-9)))
    turns: dict[str, list[float]] = {name: [] for name in clocks}
    for _ in range(rounds):
        for name, clock in clocks.items():
            turns[name].append(clock(counts[name]) / counts[name])
    return {name: Measurement(tuple(taken)) for name, taken in turns.items()}


def clock(work: Work, device: str) -> Clock:
    """Tells how long the work takes here."""
    return partial(time_seconds, work, device)


def time_seconds(work: Work, device: str, count: int) -> float:
    """Seconds that `count` times the work take in a row, until the device has done them."""
    if device.startswith("cuda"):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        begin.record()
        for _ in range(count):
            work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000
    started = time.perf_counter()
    for _ in range(count):
        work()
    if device.startswith("mps"):
        torch.mps.synchronize()
    return time.perf_counter() - started


def count_flops(work: Work) -> int:
    """The floating-point operations of the matrix products and convolutions in it; a multiplication and an addition are
    two. Compiled networks hide theirs: count before."""
    ops = torch.ops.aten  # whose attention on CPUs is unknown to the counter
    here = {ops._scaled_dot_product_flash_attention_for_cpu: _attention}
    here |= {ops._scaled_dot_product_flash_attention_for_cpu_backward: _attention_back}
    with FlopCounterMode(display=False, custom_mapping=here) as counter:
        work()
    return counter.get_total_flops()


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_back(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def peak_kernels(device: str, dtype: torch.dtype, size: int = 0) -> dict[str, tuple[Work, int]]:
    """What the device does best, each with its operations: a matrix product and a convolution of good shape."""
    size = size or (8192 if device.startswith("cuda") else 2048)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    x = torch.randn(size // 64, 256, 32, 32, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(256, 256, 3, 3, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
    product, convolution = partial(torch.mm, a, b), partial(F.conv2d, x, kernel, padding=1)
    return {
        f"matrix product {size}x{size}x{size}": (product, 2 * size**3),
        f"convolution 3x3, {len(x)}x256x32x32": (convolution, count_flops(convolution)),
    }


def peak_rss() -> int:
    """The most bytes of memory that this process has ever held, Python and libraries included."""
    if STATUS.exists():  # getrusage also counts what the parent held before this process began
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # there is none on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def anonymous_rss() -> int:
    """Bytes of memory that this process holds now for itself: without pages of files, which the system takes back."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0) or peak_rss()


class IsolatedWorker(AbstractContextManager["IsolatedWorker"]):
    """The work `make(*given)` in a process of its own, which lends nothing to others: no memory, threads or settings.

    What goes wrong there is raised here; MemoryError if the process dies.
    """

    def __init__(self, device: str, make: Callable[..., Work], *given: Any):
        processes = multiprocessing.get_context("spawn")
        self._here, there = processes.Pipe()
        self._child = processes.Process(target=_serve, args=(there, device, make, given))
        self._child.start()
        there.close()

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._here.send(None)
        self._child.join()

    def lasting(self, count: int) -> float:
        """Seconds that `count` times the work take in a row."""
        return self._asked(time_seconds.__name__, count)

    def arithmetic(self) -> int:
        """The floating-point operations in it, which is done once."""
        return self._asked(count_flops.__name__)

    def memory(self) -> int:
        """Bytes at the peak since the process began: what torch held of a GPU's, or the process of the host's."""
        return self._asked(peak_rss.__name__)

    def private(self) -> int:
        """Bytes that the process holds now, without pages of files."""
        return self._asked(anonymous_rss.__name__)

    def _asked(self, *question: Any) -> Any:
        try:
            self._here.send(question)
            answer = self._here.recv()
        except (EOFError, OSError):
            raise MemoryError("the process that was measured has died: it may have had too little memory") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(connection: Connection, device: str, make: Callable[..., Work], given: tuple[Any, ...]) -> None:
    """Answer questions about the work until there are no more."""
    work: Work | None = None
    while question := _next(connection):
        try:
            work = work or make(*given)
            connection.send(_answered(work, device, *question))
        except Exception as error:
            connection.send(error)


def _next(connection: Connection) -> Any:
    """The next question; none where the one who asks has closed or died."""
    with suppress(EOFError, OSError):
        return connection.recv()


def _answered(work: Work, device: str, question: str, *numbers: int) -> float | int:
    if question == time_seconds.__name__:
        return time_seconds(work, device, *numbers)
    if question == count_flops.__name__:
        return count_flops(work)
    if question == anonymous_rss.__name__:
        return anonymous_rss()
    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else peak_rss()
