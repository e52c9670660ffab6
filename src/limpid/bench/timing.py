"""The time, FLOPs and memory of work, and the highest speed of a device.

Workloads that are compared run interleaved, A B A B, so that a disturbance on the machine affects all of them alike.
The result is the median over the rounds, with its quartiles.
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
from typing import Any, TypeAlias, TypeVarTuple

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Work: TypeAlias = Callable[[], Any]
Arguments = TypeVarTuple("Arguments")
Clock: TypeAlias = Callable[[int], float]
"""The seconds that a workload takes when it is repeated this many times."""
STATUS = Path("/proc/self/status")
PROCESSES = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
"""On Linux a process is forked from one that has only imported torch, which saves each the seconds of the import."""
PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Measurement:
    """A value for each round, with its median and quartiles."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return median(self.rounds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile: half of the rounds lie between them."""
        low, _, high = quantiles(self.rounds * 2 if len(self.rounds) == 1 else self.rounds, n=4, method="inclusive")
        return low, high

    def ratio(self, other: "Measurement") -> "Measurement":
        """The ratio to another measurement of the same rounds, round by round."""
        return Measurement(tuple(a / b for a, b in zip(self.rounds, other.rounds, strict=True)))

    def per(self, amount: float) -> "Measurement":
        """The rate of `amount` done in these seconds."""
        return Measurement(tuple(amount / seconds for seconds in self.rounds))


def time_interleaved(clocks: Mapping[str, Clock], rounds: int = 7, seconds: float = 1.0) -> dict[str, Measurement]:
    """The seconds of one call of each workload, from `rounds` measurements of about `seconds`, or of one call if
    longer.

    Each is called twice before, so that compilation, allocation and caches of the first calls do not count.
    """
    counts = {}
    for name, clock in clocks.items():
        clock(1)
        counts[name] = max(1, round(seconds / max(clock(1), 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in clocks}
    for _ in range(rounds):
        for name, clock in clocks.items():
            times[name].append(clock(counts[name]) / counts[name])
    return {name: Measurement(tuple(seconds)) for name, seconds in times.items()}


def clock(work: Work, device: str) -> Clock:
    """The clock of a workload in this process."""
    return partial(time_seconds, work, device)


def time_seconds(work: Work, device: str, count: int) -> float:
    """The seconds of `count` successive calls, until the device has finished them."""
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
    """The floating-point operations of the matrix products and convolutions in a workload; a multiply-add counts as
    two.

    Those of a compiled network are invisible: count before it is compiled.
    """
    ops = torch.ops.aten  # torch's counter does not know attention on CPUs
    custom = {ops._scaled_dot_product_flash_attention_for_cpu: _attention}
    custom |= {ops._scaled_dot_product_flash_attention_for_cpu_backward: _attention_back}
    with FlopCounterMode(display=False, custom_mapping=custom) as counter:
        work()
    return counter.get_total_flops()


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_back(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def peak_kernels(device: str, dtype: torch.dtype, size: int = 0) -> dict[str, tuple[Work, int]]:
    """The fastest kernels of a device, each with its number of operations: a large matrix product and a convolution."""
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
    """The peak resident memory of this process in bytes, Python and libraries included."""
    if STATUS.exists():  # getrusage also counts what the parent process held before the fork
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # Windows has no such module

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def anonymous_rss() -> int:
    """The resident memory of this process in bytes, without the pages of files, which the system can take back."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0) or peak_rss()


class IsolatedWorker(AbstractContextManager["IsolatedWorker"]):
    """The workload `make(*arguments)` in a process of its own, which shares no memory, threads or settings with others.

    An exception of that process is raised in this one; MemoryError if it dies.
    """

    def __init__(self, device: str, make: Callable[[*Arguments], Work], *arguments: *Arguments):
        self._connection, far_end = PROCESSES.Pipe()
        self._child = PROCESSES.Process(target=_serve, args=(far_end, device, make, arguments))
        self._child.start()
        far_end.close()

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._connection.send(None)
        self._child.join()

    def time_seconds(self, count: int) -> float:
        """The seconds of `count` calls in a row."""
        return self._call(time_seconds.__name__, count)

    def count_flops(self) -> int:
        """The floating-point operations of one call."""
        return self._call(count_flops.__name__)

    def peak_memory(self) -> int:
        """Peak bytes since the process began: those that torch held on a GPU, or those of the process on a CPU."""
        return self._call(peak_rss.__name__)

    def anonymous_rss(self) -> int:
        """The resident memory of the process in bytes, without the pages of files."""
        return self._call(anonymous_rss.__name__)

    def _call(self, *request: Any) -> Any:
        try:
            self._connection.send(request)
            result = self._connection.recv()
        except (EOFError, OSError):
            raise MemoryError("the process that was measured has died: it may have had too little memory") from None
        if isinstance(result, Exception):
            raise result
        return result


def _serve(connection: Connection, device: str, make: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    """Run the requests that come through the connection until there are no more."""
    work: Work | None = None
    while request := _receive(connection):
        try:
            work = work or make(*arguments)
            connection.send(_run_request(work, device, *request))
        except Exception as error:
            connection.send(error)


def _receive(connection: Connection) -> Any:
    """The next request; None where the other process has closed the connection or died."""
    with suppress(EOFError, OSError):
        return connection.recv()


def _run_request(work: Work, device: str, name: str, *numbers: int) -> float | int:
    if name == time_seconds.__name__:
        return time_seconds(work, device, *numbers)
    if name == count_flops.__name__:
        return count_flops(work)
    if name == anonymous_rss.__name__:
        return anonymous_rss()
    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else peak_rss()
