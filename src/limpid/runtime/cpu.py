"""Tuning of a process for CPUs: freed memory is not returned, threads are pinned, the faster precision is measured.

An environment variable that the user has set for one of these takes precedence.
"""

import ctypes
import math
import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import median

CPUINFO, TOPOLOGY = Path("/proc/cpuinfo"), Path("/sys/devices/system/cpu")
AMX, AVX512_BF16 = "amx_bf16", "avx512_bf16"
"""Linux's flags for instructions that multiply bfloat16 matrices; CPUs without them emulate bfloat16 slowly. AMX is
always faster than float32. AVX-512 is on AMD's CPUs (1.7 times), and is not on Intel's (0.5 times)."""
ALLOCATOR = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
AFFINITY_VARIABLES = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
MAX_TIME_RATIO = 0.8
"""Fewer threads are chosen only if their time is below this fraction of the time of more threads."""
TRIM_THRESHOLD, MMAP_THRESHOLD = 2**31 - 1, 2**25
"""In bytes: a trim threshold that is never reached, and the size from which a block is mapped by itself and returned to
the kernel when it is freed (the largest that glibc before 2.35 accepts). If large blocks were not returned either,
fragmentation would take 0.2 GB in a step of DDPM's network with 64 images."""


@cache
def tune_process() -> tuple[str, ...]:
    """Keep freed memory in the process and pin its threads, once; returns the names of the changes that were made."""
    changes = {"memory kept": keep_freed_memory(), "a core for each thread": pin_threads()}
    return tuple(name for name, applied in changes.items() if applied)


def keep_freed_memory() -> bool:
    """Keep freed memory in the process instead of returning it to the kernel; returns whether glibc allows that.

    Every step allocates the same megabytes again. By default glibc returns them to the kernel in between, and each page
    then costs a page fault: 127,000 in a step of DDPM's network, a seventh of its time.
    """
    if sys.platform != "linux" or any(name in os.environ for name in ALLOCATOR):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None or not mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD))


def pin_threads() -> bool:
    """Pin each of torch's threads to its own core, if there are as many threads as cores; returns whether it did.

    Sometimes the scheduler leaves two threads on one core for an entire run, which is then three times as slow. The
    main thread is not pinned, and so neither are the processes and threads that it starts: OMP_PROC_BIND would bind
    them all, data loader workers too, to its one core. Torch's threads are recognised as those that its first parallel
    operation starts, so after that nothing is pinned.
    """
    import torch  # not at the top, so that this module can be imported without it

    if not hasattr(os, "sched_setaffinity") or any(name in os.environ for name in AFFINITY_VARIABLES):
        return False
    allowed = os.sched_getaffinity(0)
    cores = first_of_each_core(sorted(allowed))
    if not 1 < torch.get_num_threads() == len(cores):
        return False
    before = _threads()
    torch.ones(len(cores) * 2**16).add_(1)  # large enough to be split among all threads
    workers = sorted(_threads() - before)
    if len(workers) != len(cores) - 1:
        return False
    for worker, core in zip(workers, cores[1:], strict=True):
        os.sched_setaffinity(worker, {core})
    os.sched_setaffinity(0, {cores[0]})  # moves the main thread away from the cores of the others
    os.sched_setaffinity(0, allowed)
    return True


def best_thread_count(max_threads: int, rounds: int = 5) -> int:
    """The fastest number of torch's threads at this moment: `max_threads`, half of that, and so on down to 1.

    Beside a busy program more threads may be slower, since all of them wait in each operation for the one whose core is
    taken. The demo trains at 570 images/s with two threads on two free cores; if one core is busy, at 30 to 45 with two
    threads, and at 230 with one. If the load average of the last minute is low, nothing is measured.
    """
    import torch

    if max_threads == 1 or any(name in os.environ for name in THREAD_VARIABLES) or not hasattr(os, "getloadavg"):
        return max_threads
    if os.getloadavg()[0] < 0.2:
        return max_threads
    x, weight = torch.full((8, 32, 16, 16), 0.5), torch.full((32, 32, 3, 3), 0.01)
    counts = [max_threads >> i for i in range(max_threads.bit_length())]
    seconds: dict[int, list[float]] = {count: [] for count in counts}
    for i in range(rounds + 1):
        for count in counts:
            torch.set_num_threads(count)
            begin = time.perf_counter()
            for _ in range(100):  # short operations, as in a small network: threads wait for each other after each
                torch.nn.functional.silu(torch.nn.functional.conv2d(x, weight, padding=1))
            if i:  # the first round is a warm-up
                seconds[count].append(time.perf_counter() - begin)
    torch.set_num_threads(max_threads)
    best = max_threads
    for count in counts[1:]:
        if median(seconds[count]) < MAX_TIME_RATIO * median(seconds[best]):
            best = count
    return best


def first_of_each_core(cpus: Sequence[int], topology: Path = TOPOLOGY) -> list[int]:
    """The first of the logical CPUs of each physical core; all of them if the kernel does not report the topology."""
    cores: dict[str, int] = {}
    for cpu in cpus:
        siblings = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        cores.setdefault(siblings.read_text() if siblings.exists() else str(cpu), cpu)
    return list(cores.values())


def bfloat16_flags(cpuinfo: Path = CPUINFO) -> set[str]:
    """Which of the flags `AMX` and `AVX512_BF16` this CPU has."""
    return {AMX, AVX512_BF16} & set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()


def is_bfloat16_faster(cpuinfo: Path = CPUINFO) -> bool:
    """Whether convolutions in bfloat16 are faster than in float32 on this CPU: measured unless its flags decide it."""
    flags = bfloat16_flags(cpuinfo)
    return AMX in flags or (AVX512_BF16 in flags and bfloat16_speedup() > 1)


@cache
def bfloat16_speedup(rounds: int = 8) -> float:
    """The time of a small convolution in float32 over its time in bfloat16, measured once per process in about 12 ms.

    On one thread, and each time is the shortest of all rounds: another program can only make a round longer, so two
    processes on one machine make the same choice.
    """
    import torch

    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    x, weight = torch.full((4, 64, 16, 16), 0.5), torch.full((64, 64, 3, 3), 0.01)
    layers = {
        dtype: [tensor.to(dtype, memory_format=torch.channels_last) for tensor in (x, weight)] for dtype in seconds
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(rounds):
            for dtype, (x, weight) in layers.items():
                begin = time.perf_counter()
                torch.nn.functional.conv2d(x, weight, padding=1)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - begin)
    torch.set_num_threads(threads)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def model(cpuinfo: Path = CPUINFO) -> str:
    """The model name of the CPU, empty if unknown."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _threads() -> set[int]:
    """The ids of this process's threads."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}
