"""What all samplers are made of: exact steps between two levels, and fresh noise.

The two exact steps differ in what is held constant: `step_x0` holds x0, `step_eps` holds eps.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Batch, Level

Noise: TypeAlias = Callable[[], Batch]


class SamplerStep(NamedTuple):
    """The state of a sampler after a step: `x` at `level`, and `x0`, the denoiser's output of the step."""

    x: Batch
    x0: Batch
    level: Level


def step_x0(x: Batch, x0: Batch, source: Level, target: Level) -> Batch:
    """The exact step for a constant x0: x' = k x + (alpha' - k alpha) x0, k = sigma' / sigma. Exact at sigma' = 0."""
    k = target.sigma / source.sigma
    return k * x + (target.alpha - k * source.alpha) * x0


def step_eps(x: Batch, x0: Batch, away: Batch, source: Level, target: Level) -> Batch:
    """The exact step for a constant eps, that of x and `x0` plus `away`: `step_x0` plus (sigma' - alpha' r) away.

    r is sigma / alpha. The noise itself does not appear: x alpha' / alpha and alpha' r eps are both large at low
    signal, and in float32 their difference would be rounding. Needs alpha > 0.
    """
    return step_x0(x, x0, source, target) + (target.sigma - target.alpha * source.edm_sigma) * away


def eps_change(x0: Batch, x0_target: Batch, away: Batch | None, source: Level, target: Level) -> Batch:
    """The noise of `x0_target`, at the end of such a step, less that of `x0`: (x0 - x0') / r' + (1 - r / r') away.

    Exact up to rounding of the change itself, where two computed noises would differ in their last digits only. None is
    an `away` of 0.
    """
    change = (x0 - x0_target) / target.edm_sigma
    return change if away is None else change + (1 - source.edm_sigma / target.edm_sigma) * away


def ancestral_std(source: Level, target: Level) -> Float[Tensor, "*b"]:
    """The standard deviation of q(x' | x, x0): sigma' sqrt(1 - snr / snr') (Ho et al. 2020, eq. 7, on every path)."""
    ratio = (source.alpha * target.sigma) / (source.sigma * target.alpha)
    return target.sigma * (1 - ratio.square()).clamp(min=0).sqrt()


def step_to_mean(x: Batch, x0: Batch, std: Float[Tensor, ""], source: Level, target: Level) -> Batch:
    """The mean of q(x' | x, x0) with variance std^2: noise of `std` added to it gives the level `target`
    (Song et al. 2021, eq. 12, on every path)."""
    rest = (target.sigma.square() - std.square()).clamp(min=0).sqrt()
    return step_x0(x, x0, source, Level(target.alpha, rest))


def add_fresh_noise(x: Batch, std: Float[Tensor, ""], noise: Noise) -> Batch:
    """`x` plus fresh noise of standard deviation `std`; the generator is not used where it is 0."""
    return x + std * noise() if std > 0 else x


def final_step(steps: Iterator[SamplerStep]) -> SamplerStep:
    """The last step of a sampler; earlier steps are freed, so memory does not grow with their number."""
    return deque(steps, maxlen=1).pop()


def level_pairs(levels: Level) -> Iterator[tuple[Level, Level]]:
    """The pairs (source, target) of neighbouring levels."""
    return pairwise(levels[i] for i in range(len(levels)))
