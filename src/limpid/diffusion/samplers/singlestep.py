"""Samplers that forget: each step starts from the present picture alone.

A sampler is a frozen dataclass whose call walks down the levels and yields after each step: it chooses which pictures
and noises to average, and the exact steps move.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from limpid.diffusion.denoiser import Denoise, DenoiserWithVariance
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers.steps import (
    Noise,
    SamplerStep,
    add_fresh_noise,
    ancestral_std,
    eps_change,
    level_pairs,
    step_eps,
    step_to_mean,
    step_x0,
)


@dataclass(frozen=True)
class Ancestral:
    """The reverse process of DDPM (Ho et al. 2020, algorithm 2): order 1, one evaluation a step, for hundreds of steps.

    `variance` is that of the noise it adds: "small" the posterior's, beta~; "large" the forward step's, beta; "learned"
    what the network says, value by value (Nichol and Dhariwal 2021, eq. 15). Raises ValueError if it says nothing.
    """

    variance: Literal["small", "large", "learned"] = "small"

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        for here, there in level_pairs(levels):
            x0, share = self.x0_and_variance(denoise, x, here)
            small = ancestral_std(here, there)
            x = step_to_mean(x, x0, small, here, there)
            if there.sigma > 0:
                # beta / beta~ = sigma^2 / sigma'^2 on the variance-preserving circle.
                large = small * here.to_vp().sigma / there.to_vp().sigma
                x = x + small ** (1 - share) * large**share * noise()
            yield SamplerStep(x, x0, there)

    def x0_and_variance(self, denoise: Denoise, x: Batch, here: Level) -> tuple[Batch, Batch | float]:
        """The picture, and the share of the large variance."""
        if self.variance != "learned":
            return denoise(x, here), 1.0 if self.variance == "large" else 0.0
        x0, share = denoise.denoise_with_variance(x, here) if isinstance(denoise, DenoiserWithVariance) else (x, None)
        if share is None:
            raise ValueError("this network has learnt no variance: choose small or large")
        return x0, share


@dataclass(frozen=True)
class Ddim:
    """DDIM (Song et al. 2021, eq. 12): order 1, one evaluation a step, for 20 to 100 steps.

    `eta` is the share of ancestral noise: 0 is deterministic and Euler's method on every path, so there is no
    sampler of that name; 1 is `Ancestral`.
    """

    eta: float = 0.0

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        for here, there in level_pairs(levels):
            x0 = denoise(x, here)
            std = self.eta * ancestral_std(here, there)
            x = add_fresh_noise(step_to_mean(x, x0, std, here, there), std, noise)
            yield SamplerStep(x, x0, there)


@dataclass(frozen=True)
class DpmSolverPP2S:
    """DPM-Solver++(2S) (Lu et al. 2022b, algorithm 1): order 2, one evaluation a step, for 10 to 30 steps.

    Levels go in pairs: the first of two steps looks ahead, the second goes over both from where the first began. It
    forgets after each pair, so it suits pictures that jump from step to step, as under strong guidance. Steps from pure
    noise and to no noise go alone.
    """

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        begun: tuple[Batch, Batch, Level] | None = None
        for here, there in level_pairs(levels):
            x0 = denoise(x, here)
            if begun is None or there.sigma == 0:
                begun = (x, x0, here) if here.alpha > 0 else None
                x = step_x0(x, x0, here, there)
            else:
                first_x, first_x0, first = begun
                r = (here.logsnr - first.logsnr) / (there.logsnr - first.logsnr)
                x = step_x0(first_x, first_x0 + (x0 - first_x0) / (2 * r), first, there)
                begun = None
            yield SamplerStep(x, x0, there)


@dataclass(frozen=True)
class Heun:
    """Heun's method on the noise (Karras et al. 2022, algorithm 2): order 2, two evaluations a step, for 10 to 40.

    The step to no noise and one from pure noise are plain and take one. Its time is sigma / alpha, in which a step from
    nearly pure noise is long: it wants levels that begin at 100 or less, like `Karras`. A step multiplies the rounding
    of two pictures by half of the factor by which sigma / alpha falls.

    `churn` adds fresh noise before a step, raising its level: S_churn of the paper, spread over the steps whose
    sigma / alpha lies between `churn_min` and `churn_max`, its noise inflated by `churn_noise`.
    """

    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float = math.inf
    churn_noise: float = 1.0

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        most = min(self.churn / (len(levels) - 1), math.sqrt(2) - 1)
        for start, there in level_pairs(levels):
            raised = self.churn_min <= start.edm_sigma <= self.churn_max
            here = Level(start.alpha, start.sigma * (1 + (most if raised else 0.0)))
            x = add_fresh_noise(x, self.churn_noise * (here.sigma.square() - start.sigma.square()).sqrt(), noise)
            x0 = denoise(x, here)
            guess = step_x0(x, x0, here, there)
            # The mean of two noises needs noise at both ends, and a picture at both for their levels to be compared.
            if there.sigma > 0 and here.alpha > 0:
                change = eps_change(x0, denoise(guess, there), None, here, there)
                guess = step_eps(x, x0, change / 2, here, there)
            x = guess
            yield SamplerStep(x, x0, there)
