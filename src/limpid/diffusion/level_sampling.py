"""The distribution of levels in training: uniform in u, or importance sampling of levels whose loss is large.

Sampling u with density p(u) and weighting the loss by 1 / p(u) keeps the mean loss unbiased and can lower its variance.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import PerSample, UnitInterval

LossMoments: TypeAlias = Float[Tensor, " bins"]


@dataclass(frozen=True)
class UniformLevels:
    """u is uniform: every level of the schedule is sampled equally often."""

    bins: int = 1

    def __post_init__(self) -> None:
        _check(self.bins)

    def density(self, moments: LossMoments) -> LossMoments:
        """The density of u in each bin; their mean is 1."""
        return torch.ones_like(moments)


@dataclass(frozen=True)
class LossSecondMoment:
    """p(u) in proportion to the root of the second moment of the loss (Nichol and Dhariwal 2021, eq. 18)."""

    bins: int = 100
    """Equal intervals of u, each with a moment of its own."""
    floor: float = 0.001
    """Share of the samples that are uniform."""

    def __post_init__(self) -> None:
        _check(self.bins, self.floor)

    def density(self, moments: LossMoments) -> LossMoments:
        """The density of u in each bin; their mean is 1. Uniform until every bin has had a loss."""
        root = moments.sqrt()
        dense = (1 - self.floor) * root / root.mean().clamp(min=torch.finfo(root.dtype).tiny) + self.floor
        return torch.where((moments > 0).all(), dense, torch.ones_like(dense))


LevelSampler: TypeAlias = UniformLevels | LossSecondMoment


def _check(bins: int, floor: float = 0.0) -> None:
    """Raise ValueError for fewer than one bin or a floor outside 0 to 1."""
    if bins < 1 or not 0 <= floor <= 1:
        raise ValueError(f"level sampler bins {bins}, floor {floor}: expected at least 1 bin, and a floor from 0 to 1")


MOMENT_DECAY = 0.99
"""Decay of the moving average of a moment; the paper averages the last ten losses of each step instead."""


def importance_sample(u: UnitInterval, density: LossMoments) -> tuple[UnitInterval, UnitInterval]:
    """Uniforms mapped to samples of a density p, and the importance weight 1 / p(u) of each."""
    density = density.to(u.dtype)
    # A mask, since the order of additions in `cumsum` on a GPU is not fixed.
    below = torch.cat([density.new_zeros(1), density.expand(len(density), -1).tril().sum(1)]) / len(density)
    part = (torch.searchsorted(below, u, right=True) - 1).clamp(0, len(density) - 1)
    within = (u * below[-1] - below[part]) * len(density) / density[part]
    bent = ((part + within) / len(density)).clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
    return bent, 1 / density[part]


@torch.no_grad()
def update_moments(moments: LossMoments, u: UnitInterval, loss: PerSample) -> None:
    """Update the moving averages of the squared loss of each bin, in place; the first losses of a bin initialise it.

    Summed by a mask: all processes must compute the same bits, and the order of additions in `index_add_` on a GPU is
    not fixed.
    """
    part = (u * len(moments)).long().clamp(max=len(moments) - 1)
    inside = torch.arange(len(moments), device=part.device)[:, None] == part
    number, total = inside.sum(1), torch.where(inside, loss.square().to(moments.dtype), 0).sum(1)
    fresh = total / number.clamp(min=1)
    updated = torch.where(moments > 0, torch.lerp(fresh, moments, MOMENT_DECAY), fresh)
    moments.copy_(torch.where(number > 0, updated, moments))
