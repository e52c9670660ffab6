"""Dropout on a CPU with four random numbers from each 64 bits, and from a generator that can be set."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import nn

from limpid.nets.types import ImageBatch

_dropout_generator: ContextVar[torch.Generator | None] = ContextVar("dropout_generator", default=None)


@contextmanager
def dropout_from(generator: torch.Generator) -> Iterator[None]:
    """A context in which dropout on a CPU uses this generator instead of torch's default one."""
    before = _dropout_generator.set(generator)
    try:
        yield
    finally:
        _dropout_generator.reset(before)


class Dropout(nn.Module):
    """Each value set to 0 with probability `p`, the others scaled up to keep the mean (Srivastava et al. 2014)."""

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout {p}: expected a probability from 0 up to, not including, 1")
        self.p = p

    def forward(self, x: ImageBatch) -> ImageBatch:
        """`x` with dropout, while training."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        # A CPU generates random numbers serially, a seventh of the time of DDPM's step: each 64 bits serve four values.
        b, c, h, w = x.shape
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
        random = words.random_(-(2**63), None, generator=_dropout_generator.get()).view(torch.int16)
        dropped = min(round(self.p * 2**16), 2**16 - 1)
        keep = (random[: x.numel()] >= dropped - 2**15).view(b, h, w, c).permute(0, 3, 1, 2)
        return x * keep.to(x.dtype).mul_(2**16 / (2**16 - dropped))
