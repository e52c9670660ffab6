"""Learned variance of the reverse process (Nichol and Dhariwal 2021, section 3.1), for each value between beta~ and
beta.

Besides its target the network predicts a fraction v between the two bounds, trained by a small multiple of the
variational bound.
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
    """For each sample a step of a discrete chain, and the bounds of the standard deviation of its reverse step."""

    source: Level
    target: Level
    std_min: Float[Tensor, " b"]
    std_max: Float[Tensor, " b"]
    steps: int


def posterior_bounds(schedule: Schedule, u: UnitInterval) -> PosteriorBounds:
    """The steps from t = ceil(u T) to t - 1, one for each u. Raises ValueError for a schedule of fewer than 2 steps."""
    steps = getattr(schedule, "T", 0)
    if steps < 2:
        raise ValueError(f"learned variance needs a schedule of 2 steps or more, not {schedule}")
    source, target = schedule(u), schedule((u - 1 / steps).clamp(min=0))
    second, first = (schedule(torch.full_like(u, t / steps)) for t in (2, 1))
    # The posterior of the first step has no variance: that of the second is taken, as in the authors' code.
    small = torch.where(target.sigma > 0, ancestral_std(source, target), ancestral_std(second, first))
    large = (1 - (source.alpha / target.alpha).square()).sqrt()
    return PosteriorBounds(source, target, small, large, steps)


def vlb_loss(
    x0: Batch, x0_pred: Batch, variance_fraction: Batch, step: PosteriorBounds, multiple: float = 1e-3
) -> PerSample:
    """The variational bound in bits per dimension times `multiple`, added to L_simple (eq. 16).

    `variance_fraction` is the weight of the large variance in the geometric mean (eq. 15); no gradient flows through
    `x0_pred`.
    """
    source, target, small, large, steps = step
    std = append_dims(small, x0) ** (1 - variance_fraction) * append_dims(large, x0) ** variance_fraction
    rest = (target.sigma.square() - small.square()).clamp(min=0).sqrt()
    mean_error = append_dims(target.alpha - rest / source.sigma * source.alpha, x0) * (x0 - x0_pred.detach())
    true_std = append_dims(small, x0)
    kl = ((true_std.square() + mean_error.square()) / std.square() - 1) / 2 + (std / true_std).log()
    # Where the KL divergence is used, the decoder is evaluated at x0 itself: far from x0 its gradient would be 0 / 0,
    # and `where` multiplies that by 0, which is NaN too.
    decoder_mean = torch.where(append_dims(target.sigma, x0) > 0, x0, x0_pred.detach())
    nats = torch.where(target.sigma > 0, kl.flatten(1).sum(1), decoder_nats(x0, decoder_mean, std))
    return multiple * steps * nats / (x0[0].numel() * math.log(2))
