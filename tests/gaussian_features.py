"""Features of Gaussian laws, and their statistics."""

import torch
from torch import Tensor

from limpid.metrics.moments import Moments, Statistics

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, d: int, seed: int = 0, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    return torch.randn(n, d, generator=generator(seed), dtype=F64) * scale + shift


def mixed(n: int, d: int, seed: int) -> Statistics:
    """The statistics of features that depend on each other."""
    return Moments.of(normal(n, d, seed) @ normal(d, d, seed + 100) + normal(1, d, seed + 200)).statistics


def standard(d: int) -> Statistics:
    return Statistics(torch.zeros(d, dtype=F64), torch.eye(d, dtype=F64))
