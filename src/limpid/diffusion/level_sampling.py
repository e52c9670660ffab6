"""Which levels training dwells on: all of the schedule alike, or more on those whose loss is large, made up for.

Drawing u with density p and dividing the loss by p leaves the mean loss as it is and can lower its variance.
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
    """Every part of u alike."""

    bins: int = 1

    def __post_init__(self) -> None:
        _check(self.bins)

    def density(self, moments: LossMoments) -> LossMoments:
        """The density of u in each of its equal parts, whose mean is 1."""
        return torch.ones_like(moments)


@dataclass(frozen=True)
class LossSecondMoment:
    """In proportion to the root of the loss's second moment (Nichol and Dhariwal 2021, eq. 18)."""

    bins: int = 100
    """Equal parts of u, each with a moment of its own."""
    floor: float = 0.001
    """Share of the draws that stay even."""

    def __post_init__(self) -> None:
        _check(self.bins, self.floor)

    def density(self, moments: LossMoments) -> LossMoments:
        """The density of u in each of its equal parts, whose mean is 1; even until every part has been met."""
        root = moments.sqrt()
        dense = (1 - self.floor) * root / root.mean().clamp(min=torch.finfo(root.dtype).tiny) + self.floor
        return torch.where((moments > 0).all(), dense, torch.ones_like(dense))


LevelSampler: TypeAlias = UniformLevels | LossSecondMoment


def _check(bins: int, floor: float = 0.0) -> None:
    """Raise ValueError for what divides nothing."""
    if bins < 1 or not 0 <= floor <= 1:
        raise ValueError(f"emphasis bins {bins}, floor {floor}: expected at least 1, and a share, 0 to 1")


MOMENT_DECAY = 0.99
"""Share that a moment keeps when another loss comes; the paper averages the last ten of each step instead."""


def importance_sample(u: UnitInterval, density: LossMoments) -> tuple[UnitInterval, UnitInterval]:
    """Even uniforms bent to a density, and what each loss is multiplied by to make up for it."""
    density = density.to(u.dtype)
    # A mask, since a GPU adds up `cumsum` in any order.
    below = torch.cat([density.new_zeros(1), density.expand(len(density), -1).tril().sum(1)]) / len(density)
    part = (torch.searchsorted(below, u, right=True) - 1).clamp(0, len(density) - 1)
    within = (u * below[-1] - below[part]) * len(density) / density[part]
    bent = ((part + within) / len(density)).clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps)
    return bent, 1 / density[part]


@torch.no_grad()
def update_moments(moments: LossMoments, u: UnitInterval, loss: PerSample) -> None:
    """Take the losses at u into the second moments of its parts, in place; the first of a part counts whole.

    Summed by a mask: all processes are to come to the same bits, and a GPU adds up `index_add_` in any order.
    """
    part = (u * len(moments)).long().clamp(max=len(moments) - 1)
    inside = torch.arange(len(moments), device=part.device)[:, None] == part
    number, total = inside.sum(1), torch.where(inside, loss.square().to(moments.dtype), 0).sum(1)
    fresh = total / number.clamp(min=1)
    kept = torch.where(moments > 0, torch.lerp(fresh, moments, MOMENT_DECAY), fresh)
    moments.copy_(torch.where(number > 0, kept, moments))
