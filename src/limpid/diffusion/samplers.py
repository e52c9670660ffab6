"""A sampler chooses averages; one exact step moves.

The two exact steps say the same with different things held still: `step_eps` holds the noise, `step_x0` the picture. A
sampler is a frozen dataclass whose call walks down the levels and yields after each step.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level, eps_from

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


def ancestral_std(here: Level, there: Level) -> Float[Tensor, ""]:
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


@dataclass(frozen=True)
class Ancestral:
    """The reverse process of DDPM (Ho et al. 2020, algorithm 2): order 1, one evaluation a step, for hundreds of steps.

    `variance` is that of the noise it adds: "small" the posterior's, beta~; "large" the forward step's, beta.
    """

    variance: Literal["small", "large"] = "small"

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[Step]:
        for here, there in moves(levels):
            x0 = denoise(x, here)
            small = ancestral_std(here, there)
            # beta / beta~ = sigma^2 / sigma'^2 on the variance-preserving circle; no noise follows the last step.
            large = small * here.unit().sigma / there.unit().sigma if there.sigma > 0 else small
            mean = step_mean(x, x0, small, here, there)
            x = stir(mean, large if self.variance == "large" else small, noise)
            yield Step(x, x0, there)


@dataclass(frozen=True)
class Ddim:
    """DDIM (Song et al. 2021, eq. 12): order 1, one evaluation a step, for 20 to 100 steps.

    `eta` is the share of ancestral noise: 0 is deterministic and is Euler's method on every path, 1 is `Ancestral`.
    """

    eta: float = 0.0

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[Step]:
        for here, there in moves(levels):
            x0 = denoise(x, here)
            std = self.eta * ancestral_std(here, there)
            x = stir(step_mean(x, x0, std, here, there), std, noise)
            yield Step(x, x0, there)


@dataclass(frozen=True)
class Heun:
    """Heun's method on the noise (Karras et al. 2022, algorithm 2): order 2, two evaluations a step, for 10 to 40.

    `churn` adds fresh noise before a step, raising its level: S_churn of the paper, spread over the steps whose
    sigma / alpha lies between `churn_min` and `churn_max`, its noise inflated by `churn_noise`.
    """

    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float = math.inf
    churn_noise: float = 1.0

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[Step]:
        most = min(self.churn / (len(levels) - 1), math.sqrt(2) - 1)
        for start, there in moves(levels):
            raised = self.churn_min <= start.ratio <= self.churn_max
            here = Level(start.alpha, start.sigma * (1 + (most if raised else 0.0)))
            x = stir(x, self.churn_noise * (here.sigma.square() - start.sigma.square()).sqrt(), noise)
            x0 = denoise(x, here)
            guess = step_x0(x, x0, here, there)
            # The mean of two noises needs noise at both ends, and a picture at both for their levels to be compared.
            if there.sigma > 0 and here.alpha > 0:
                eps = (eps_from(x0, x, here) + eps_from(denoise(guess, there), guess, there)) / 2
                guess = step_eps(x, eps, here, there)
            x = guess
            yield Step(x, x0, there)


@dataclass(frozen=True)
class DpmSolverPP:
    """DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2): order 2, one evaluation a step, for 10 to 30 steps.

    The picture is extrapolated along log-SNR from the last two; the first and the last step are of order 1.
    """

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[Step]:
        before = None
        for here, there in moves(levels):
            x0 = denoise(x, here)
            ahead = x0
            if before is not None and there.sigma > 0:
                last_x0, last = before
                r = (here.logsnr - last.logsnr) / (there.logsnr - here.logsnr)
                ahead = x0 + (x0 - last_x0) / (2 * r)
            x, before = step_x0(x, ahead, here, there), (x0, here)
            yield Step(x, x0, there)


Sampler: TypeAlias = Ancestral | Ddim | Heun | DpmSolverPP
