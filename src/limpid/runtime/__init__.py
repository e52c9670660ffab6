"""The process that limpid runs in: device, precision, threads, memory, random numbers, other processes, terminal."""

__all__ = [
    "cpu",
    "device",
    "distributed",
    "errors",
    "fsdp",
    "grad_sync",
    "log",
    "oom",
    "output",
    "progress_line",
    "randn",
    "rng",
    "terminal",
    "versions",
]
