"""The steps of all samplers: exact steps between two levels, and fresh noise.

The two exact steps differ in what they assume to be constant: `step_x0` x0, and `step_eps` eps.
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


def step_eps(x: Batch, x0: Batch, eps_offset: Batch, source: Level, target: Level) -> Batch:
    """The exact step for a constant noise, eps(x, x0) + eps_offset: `step_x0` plus (sigma' - alpha' r) eps_offset, with
    r = sigma / alpha. Needs alpha > 0.

    eps(x, x0) itself is not computed: where alpha is small, x alpha' / alpha and alpha' r eps are both large, and in
    float32 their difference would be mostly rounding error.
    """
    return step_x0(x, x0, source, target) + (target.sigma - target.alpha * source.edm_sigma) * eps_offset


def eps_change(x0: Batch, x0_target: Batch, eps_offset: Batch | None, source: Level, target: Level) -> Batch:
    """The noise for `x0_target` at the end of a `step_eps`, minus the noise for `x0` at its start: (x0 - x0') / r' +
    (1 - r / r') eps_offset, with r = sigma / alpha. None is an offset of 0.

    Accurate to the rounding of the change itself: the difference of two computed noises would be mostly rounding error.
    """
    change = (x0 - x0_target) / target.edm_sigma
    return change if eps_offset is None else change + (1 - source.edm_sigma / target.edm_sigma) * eps_offset


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
