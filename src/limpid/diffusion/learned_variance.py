"""Learned variance of the reverse process (Nichol and Dhariwal 2021, section 3.1): between beta~ and beta, by value.

Besides its target the network predicts a fraction v between the two, trained by a small multiple of the variational
bound.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Batch, Level, PerSample, UnitInterval, append_dims
from limpid.diffusion.likelihood import decoder_nats
from limpid.diffusion.samplers.steps import ancestral_std
from limpid.diffusion.schedules import Schedule


class PosteriorBounds(NamedTuple):
    """A step of a discrete chain for each sample, and the two standard deviations that bound its reverse step's."""

    here: Level
    there: Level
    std_min: Float[Tensor, " b"]
    std_max: Float[Tensor, " b"]
    steps: int


def posterior_bounds(schedule: Schedule, u: UnitInterval) -> PosteriorBounds:
    """The steps from t = ceil(u T) to t - 1. Raises ValueError for a schedule of fewer than 2 steps."""
    steps = getattr(schedule, "T", 0)
    if steps < 2:
        raise ValueError(f"a variance is learned along a schedule of 2 steps or more, not along {schedule}")
    here, there = schedule(u), schedule((u - 1 / steps).clamp(min=0))
    second, first = (schedule(torch.full_like(u, t / steps)) for t in (2, 1))
    # The posterior of the first step has no variance: the second's stands for it, as in the authors' code.
    small = torch.where(there.sigma > 0, ancestral_std(here, there), ancestral_std(second, first))
    large = (1 - (here.alpha / there.alpha).square()).sqrt()
    return PosteriorBounds(here, there, small, large, steps)


def vlb_loss(
    x0: Batch, x0_pred: Batch, variance_fraction: Batch, step: PosteriorBounds, multiple: float = 1e-3
) -> PerSample:
    """The variational bound in bits per dimension times `multiple`, added to L_simple (eq. 16).

    `variance_fraction` is the weight of the large variance in the geometric mean (eq. 15); `x0_pred` takes no gradient.
    """
    here, there, small, large, steps = step
    std = append_dims(small, x0) ** (1 - variance_fraction) * append_dims(large, x0) ** variance_fraction
    rest = (there.sigma.square() - small.square()).clamp(min=0).sqrt()
    apart = append_dims(there.alpha - rest / here.sigma * here.alpha, x0) * (x0 - x0_pred.detach())
    least = append_dims(small, x0)
    divergence = ((least.square() + apart.square()) / std.square() - 1) / 2 + (std / least).log()
    # Where the divergence is used, the decoder is evaluated at x0 itself: far from it, its gradient would be 0 / 0, and
    # `where` multiplies that by 0, which is NaN too.
    read = torch.where(append_dims(there.sigma, x0) > 0, x0, x0_pred.detach())
    nats = torch.where(there.sigma > 0, divergence.flatten(1).sum(1), decoder_nats(x0, read, std))
    return multiple * steps * nats / (x0[0].numel() * math.log(2))
