"""Single-step samplers: each step depends on the current x alone.

A sampler is a frozen dataclass; its call goes through the levels and yields after each step. In a step it chooses an x0
or a noise, and the exact step for that constant moves x.
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
    the network's, for each value (Nichol and Dhariwal 2021, eq. 15). Raises ValueError if the network has none.
    """

    variance: Literal["small", "large", "learned"] = "small"

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        for source, target in level_pairs(levels):
            x0, fraction = self.x0_and_variance(denoise, x, source)
            small = ancestral_std(source, target)
            x = step_to_mean(x, x0, small, source, target)
            if target.sigma > 0:
                # beta / beta~ = sigma^2 / sigma'^2 on the variance-preserving circle.
                large = small * source.to_vp().sigma / target.to_vp().sigma
                x = x + small ** (1 - fraction) * large**fraction * noise()
            yield SamplerStep(x, x0, target)

    def x0_and_variance(self, denoise: Denoise, x: Batch, source: Level) -> tuple[Batch, Batch | float]:
        """x0, and the fraction of the large variance."""
        if self.variance != "learned":
            return denoise(x, source), 1.0 if self.variance == "large" else 0.0
        x0, fraction = (
            denoise.denoise_with_variance(x, source) if isinstance(denoise, DenoiserWithVariance) else (x, None)
        )
        if fraction is None:
            raise ValueError("this network has learned no variance: choose small or large")
        return x0, fraction


@dataclass(frozen=True)
class Ddim:
    """DDIM (Song et al. 2021, eq. 12): order 1, one evaluation a step, for 20 to 100 steps.

    `eta` scales the ancestral noise: 0 is deterministic and is Euler's method on every path; 1 is `Ancestral`.
    """

    eta: float = 0.0

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        for source, target in level_pairs(levels):
            x0 = denoise(x, source)
            std = self.eta * ancestral_std(source, target)
            x = add_fresh_noise(step_to_mean(x, x0, std, source, target), std, noise)
            yield SamplerStep(x, x0, target)


@dataclass(frozen=True)
class DpmSolverPP2S:
    """DPM-Solver++(2S) (Lu et al. 2022b, algorithm 1): order 2, one evaluation a step, for 10 to 30 steps.

    Steps are taken in pairs: the first gives an intermediate point, and the second starts again where the first did.
    Nothing is extrapolated from earlier pairs, which suits an x0 that changes abruptly between steps, as under strong
    guidance. Steps from pure noise and to sigma = 0 are not paired.
    """

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        first_half: tuple[Batch, Batch, Level] | None = None
        for source, target in level_pairs(levels):
            x0 = denoise(x, source)
            if first_half is None or target.sigma == 0:
                first_half = (x, x0, source) if source.alpha > 0 else None
                x = step_x0(x, x0, source, target)
            else:
                first_x, first_x0, first = first_half
                r = (source.logsnr - first.logsnr) / (target.logsnr - first.logsnr)
                x = step_x0(first_x, first_x0 + (x0 - first_x0) / (2 * r), first, target)
                first_half = None
            yield SamplerStep(x, x0, target)


@dataclass(frozen=True)
class Heun:
    """Heun's method on the noise (Karras et al. 2022, algorithm 2): order 2, two evaluations a step, for 10 to 40
    steps.

    A step to sigma = 0 or from pure noise is of first order and takes one evaluation. The time of the ODE is sigma /
    alpha, in which a step from nearly pure noise is long: use levels that begin at 100 or less, like `Karras`. A step
    multiplies rounding errors of its two x0 by half of the factor by which sigma / alpha decreases.

    `churn` adds fresh noise before a step, raising its level: S_churn of the paper, spread over the steps whose
    sigma / alpha lies between `churn_min` and `churn_max`, its noise inflated by `churn_noise`.
    """

    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float = math.inf
    churn_noise: float = 1.0

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        gamma = min(self.churn / (len(levels) - 1), math.sqrt(2) - 1)
        for start, target in level_pairs(levels):
            raised = self.churn_min <= start.edm_sigma <= self.churn_max
            source = Level(start.alpha, start.sigma * (1 + (gamma if raised else 0.0)))
            x = add_fresh_noise(x, self.churn_noise * (source.sigma.square() - start.sigma.square()).sqrt(), noise)
            x0 = denoise(x, source)
            predicted = step_x0(x, x0, source, target)
            # The mean of two noises needs noise at both levels, and signal at both for a finite sigma / alpha.
            if target.sigma > 0 and source.alpha > 0:
                change = eps_change(x0, denoise(predicted, target), None, source, target)
                predicted = step_eps(x, x0, change / 2, source, target)
            x = predicted
            yield SamplerStep(x, x0, target)
