"""The moves that all samplers are made of: exact steps between two levels, and fresh noise.

The two exact steps say the same with different things held still: `step_eps` holds the noise, `step_x0` the picture.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Batch, Level

Noise: TypeAlias = Callable[[], Batch]


class Step(NamedTuple):
    """Where a sampler is: `x` at `level`, and `x0`, the picture it saw on the way there."""

    x: Batch
    x0: Batch
    level: Level


def step_eps(x: Batch, eps: Batch, here: Level, there: Level) -> Batch:
    """The exact move if the noise stays: x' = k x + (sigma' - k sigma) eps, k = alpha' / alpha. Needs alpha > 0."""
    k = there.alpha / here.alpha
    return k * x + (there.sigma - k * here.sigma) * eps


def step_x0(x: Batch, x0: Batch, here: Level, there: Level) -> Batch:
    """The exact move if the picture stays: x' = k x + (alpha' - k alpha) x0, k = sigma' / sigma. Lands on 0."""
    k = there.sigma / here.sigma
    return k * x + (there.alpha - k * here.alpha) * x0


def ancestral_std(here: Level, there: Level) -> Float[Tensor, "*b"]:
    """The standard deviation of q(x' | x, x0): sigma' sqrt(1 - snr / snr') (Ho et al. 2020, eq. 7, on every path)."""
    ratio = (here.alpha * there.sigma) / (here.sigma * there.alpha)
    return there.sigma * (1 - ratio.square()).clamp(min=0).sqrt()


def step_mean(x: Batch, x0: Batch, std: Float[Tensor, ""], here: Level, there: Level) -> Batch:
    """To where fresh noise of `std` makes the level `there`: the mean of Song et al. (2021), eq. 12, on every path."""
    rest = (there.sigma.square() - std.square()).clamp(min=0).sqrt()
    return step_x0(x, x0, here, Level(there.alpha, rest))


def stir(x: Batch, std: Float[Tensor, ""], noise: Noise) -> Batch:
    """`x` with fresh noise of `std`; none is drawn where it is 0."""
    return x + std * noise() if std > 0 else x


def moves(levels: Level) -> Iterator[tuple[Level, Level]]:
    """The steps down a list of levels: (here, there) of each."""
    return pairwise(levels[i] for i in range(len(levels)))
