"""The state of this process that a library must not change."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from limpid.runtime.device import WORKSPACE

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def process_state() -> dict[str, object]:
    """All that a caller may have set, and would miss."""
    tasks = Path("/proc/self/task")
    affinities = set()
    for thread in tasks.iterdir() if tasks.is_dir() else ():
        with suppress(OSError):  # it has ended meanwhile
            affinities.add(tuple(sorted(os.sched_getaffinity(int(thread.name)))))
    return {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's generator": str(np.random.get_state()),
        "threads": torch.get_num_threads(),
        "affinities": affinities,
        "handlers": [signal.getsignal(number) for number in SIGNALS],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "attention of cuDNN": torch.backends.cuda.cudnn_sdp_enabled(),
        "default type": torch.get_default_dtype(),
        "cuBLAS": os.environ.get(WORKSPACE),
    }
