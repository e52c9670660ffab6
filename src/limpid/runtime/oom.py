"""Halving of the batch size until it fits into memory."""

import errno
import re
from collections.abc import Callable
from typing import TypeVar

import torch

from limpid.runtime.log import logger

Result = TypeVar("Result")
OOM_MESSAGE = re.compile(
    r"out of memory|(not enough|insufficient) memory|(can't|cannot|could not|failed to|unable to) allocate"
    r"|DefaultCPUAllocator|bad_alloc|bad allocation|_ALLOC_FAILED"
    r"|could not (create|execute) a (primitive|memory)"  # oneDNN, which gives no reason
    r"|_STATUS_NOT_INITIALIZED",  # cuBLAS and cuDNN, whose own memory comes first
    re.IGNORECASE,
)
"""Messages of torch and its libraries when an allocation fails."""


def find_executable_batch_size(
    work: Callable[[int], Result], size: int, can_retry: Callable[[], bool] = lambda: True
) -> tuple[Result, int]:
    """The result of `work(size)` and the size, which is halved each time memory runs out and `can_retry` allows it.

    Raises MemoryError if it does not, or if one image at a time is too many.
    """
    while True:
        try:
            return work(size), size
        except (RuntimeError, MemoryError, OSError) as error:
            if not _out_of_memory(error):
                raise
            why = str(error).partition("\n")[0]
        # Outside of the except block, so that the error no longer references the tensors of the failed attempt.
        if size == 1:
            raise MemoryError(f"out of memory with one image at a time: {why}")
        if not can_retry():
            advice = f"resume with --micro-batch {size // 2}"
            raise MemoryError(f"out of memory after gradients were sent to other processes: {advice}: {why}")
        size = (size + 1) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning(f"out of memory: from now on {size} images at a time, of the same batch")


def _out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed: torch's own error on a GPU has a type, those of libraries only a message."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    return known or (isinstance(error, RuntimeError) and OOM_MESSAGE.search(str(error)) is not None)
