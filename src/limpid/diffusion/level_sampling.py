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
"""Moving averages of the squared loss, one for each of several equal intervals (bins) of u; 0 before the first loss."""


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
    """Equal intervals of u, each with its own moment."""
    floor: float = 0.001
    """Fraction of the levels that are sampled uniformly."""

    def __post_init__(self) -> None:
        _check(self.bins, self.floor)

    def density(self, moments: LossMoments) -> LossMoments:
        """The density of u in each bin; their mean is 1. Uniform until every bin has a moment."""
        root = moments.sqrt()
        density = (1 - self.floor) * root / root.mean().clamp(min=torch.finfo(root.dtype).tiny) + self.floor
        return torch.where((moments > 0).all(), density, torch.ones_like(density))


LevelSampler: TypeAlias = UniformLevels | LossSecondMoment


def _check(bins: int, floor: float = 0.0) -> None:
    """Raise ValueError for fewer than one bin or a floor outside 0 to 1."""
    if bins < 1 or not 0 <= floor <= 1:
        raise ValueError(f"level sampler bins {bins}, floor {floor}: expected at least 1 bin, and a floor from 0 to 1")


MOMENT_DECAY = 0.99
"""Decay of the moving average of a moment; the paper averages the last ten losses of each step instead."""


def importance_sample(u: UnitInterval, density: LossMoments) -> tuple[UnitInterval, UnitInterval]:
    """Samples of a density p by its inverse CDF, from uniform `u`, and the importance weight 1 / p(u) of each.

    `density` is that of `LevelSampler.density`.
    """
    density = density.to(u.dtype)
    # Summed by a mask, since the order of additions in `cumsum` on a GPU is not fixed.
    cdf = torch.cat([density.new_zeros(1), density.expand(len(density), -1).tril().sum(1)]) / len(density)
    bin_index = (torch.searchsorted(cdf, u, right=True) - 1).clamp(0, len(density) - 1)
    within_bin = (u * cdf[-1] - cdf[bin_index]) * len(density) / density[bin_index]
    sampled = ((bin_index + within_bin) / len(density)).clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
    return sampled, 1 / density[bin_index]


@torch.no_grad()
def update_moments(moments: LossMoments, u: UnitInterval, loss: PerSample) -> None:
    """Update the moving averages of the squared loss in each bin, in place; the first losses of a bin initialize it.

    Summed by a mask: all processes must compute the same bits, and the order of additions in `index_add_` on a GPU is
    not fixed.
    """
    bin_index = (u * len(moments)).long().clamp(max=len(moments) - 1)
    in_bin = torch.arange(len(moments), device=bin_index.device)[:, None] == bin_index
    number, total = in_bin.sum(1), torch.where(in_bin, loss.square().to(moments.dtype), 0).sum(1)
    current = total / number.clamp(min=1)
    updated = torch.where(moments > 0, torch.lerp(current, moments, MOMENT_DECAY), current)
    moments.copy_(torch.where(number > 0, updated, moments))
