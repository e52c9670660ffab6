"""What a CPU needs to be quick: memory kept for the next step, a core for each thread, bfloat16 where it is real.

Whoever has set the environment's own switches of these things has decided for himself.
"""

import ctypes
import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import median

CPUINFO, TOPOLOGY = Path("/proc/cpuinfo"), Path("/sys/devices/system/cpu")
BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""What Linux calls the instructions that multiply matrices of bfloat16; other CPUs only emulate it, slowly."""
ALLOCATOR = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
AFFINITY_VARIABLES = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
MIN_SPEEDUP = 0.8
"""The share of the time of more threads that fewer must take to be chosen: in doubt it is more."""
NEVER, LARGE = 2**31 - 1, 2**25
"""Bytes: a threshold that is never reached, and the size from which a block is handed back alone: the most that glibc
before 2.35 takes. Were all kept, they would leave holes, 0.2 GB in a step of DDPM's network with 64 images."""


@cache
def tune_process() -> tuple[str, ...]:
    """Keep memory and spread threads, once in a process; what was done, in words."""
    done = {"memory kept": keep_freed_memory(), "a core for each thread": pin_threads()}
    return tuple(words for words, true in done.items() if true)


def keep_freed_memory() -> bool:
    """Let the process keep the memory that it frees; whether it could, which takes glibc.

    Every step allocates the same megabytes again. As glibc comes, it hands them back to the kernel in between, and each
    page then costs a fault: 127,000 in a step of DDPM's network, a seventh of its time.
    """
    if sys.platform != "linux" or any(name in os.environ for name in ALLOCATOR):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None or not mallopt(M_TRIM_THRESHOLD, NEVER):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE))


def pin_threads() -> bool:
    """Give each of torch's threads a core of its own, if they are as many as the cores there are; whether it did.

    The scheduler now and then leaves two of them on one core for the whole of a run, which is then three times as slow.
    The main thread stays free to move, and so do the processes and threads that it starts: OMP_PROC_BIND would hold all
    of those, the workers of a data loader too, on its one core. Only threads that torch starts here can be found, so
    nothing is done after its first parallel work.
    """
    import torch  # here, so that the rest of this file can be had without it

    if not hasattr(os, "sched_setaffinity") or any(name in os.environ for name in AFFINITY_VARIABLES):
        return False
    allowed = os.sched_getaffinity(0)
    cores = first_of_each_core(sorted(allowed))
    if not 1 < torch.get_num_threads() == len(cores):
        return False
    before = _threads()
    torch.ones(len(cores) * 2**16).add_(1)  # enough for a share for each of them
    workers = sorted(_threads() - before)
    if len(workers) != len(cores) - 1:
        return False
    for worker, core in zip(workers, cores[1:], strict=True):
        os.sched_setaffinity(worker, {core})
    os.sched_setaffinity(0, {cores[0]})  # moves it there, away from the others
    os.sched_setaffinity(0, allowed)
    return True


def best_thread_count(most: int, turns: int = 5) -> int:
    """The number of torch's threads, of `most`, half of it, and so on down to one, that gets most done at this moment.

    Beside another busy program the more are not the quicker: at each operation all wait for the one that was put aside.
    The demo trains at 570 images/s with two threads on two free cores; with one of the cores taken at 30 to 45 with
    two, and at 230 with one. On a machine that has had nothing to do for a minute nothing is measured.
    """
    import torch

    if most == 1 or any(name in os.environ for name in THREAD_VARIABLES) or not hasattr(os, "getloadavg"):
        return most
    if os.getloadavg()[0] < 0.2:
        return most
    x, weight = torch.full((8, 32, 16, 16), 0.5), torch.full((32, 32, 3, 3), 0.01)
    numbers = [most >> i for i in range(most.bit_length())]
    taken: dict[int, list[float]] = {number: [] for number in numbers}
    for turn in range(turns + 1):
        for number in numbers:
            torch.set_num_threads(number)
            begin = time.perf_counter()
            for _ in range(100):  # short ones, as in a small network: each is a moment to wait for one another
                torch.nn.functional.silu(torch.nn.functional.conv2d(x, weight, padding=1))
            if turn:  # what is allocated and started at first does not count
                taken[number].append(time.perf_counter() - begin)
    torch.set_num_threads(most)
    best = most
    for number in numbers[1:]:
        if median(taken[number]) < MIN_SPEEDUP * median(taken[best]):
            best = number
    return best


def first_of_each_core(cpus: Sequence[int], topology: Path = TOPOLOGY) -> list[int]:
    """Of the logical CPUs, the first that each core has among them; all of them where the kernel does not tell."""
    cores: dict[str, int] = {}
    for cpu in cpus:
        siblings = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.setdefault(siblings.read_text() if siblings.exists() else str(cpu), cpu)
    return list(cores.values())


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this CPU multiplies bfloat16 itself."""
    return cpuinfo.exists() and any(flag in cpuinfo.read_text().split() for flag in BFLOAT16)


def model(cpuinfo: Path = CPUINFO) -> str:
    """What the CPU calls itself; nothing where it is not told."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _threads() -> set[int]:
    """The numbers of this process's threads."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}
