"""Dropout that draws four numbers at a time on a CPU, from a generator of its own."""

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
    """Dropout on a CPU draws from this generator in here, instead of torch's default one."""
    before = _dropout_generator.set(generator)
    try:
        yield
    finally:
        _dropout_generator.reset(before)


class Dropout(nn.Module):
    """Each number zero with probability `share`, the others scaled up to keep the mean (Srivastava et al. 2014)."""

    def __init__(self, share: float):
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout {share}: expected a share from 0 up to, not including, 1")
        self.share = share

    def forward(self, x: ImageBatch) -> ImageBatch:
        """`x` with its numbers dropped, while training."""
        if not self.training or self.share == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.share)
        # CPUs draw numbers one after the other, a seventh of DDPM's step: so each draw of 64 bits serves for four.
        b, c, h, w = x.shape
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
        drawn = words.random_(-(2**63), None, generator=_dropout_generator.get()).view(torch.int16)
        dropped = min(round(self.share * 2**16), 2**16 - 1)
        kept = (drawn[: x.numel()] >= dropped - 2**15).view(b, h, w, c).permute(0, 3, 1, 2)
        return x * kept.to(x.dtype).mul_(2**16 / (2**16 - dropped))
