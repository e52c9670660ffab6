"""Editing images with any denoiser, without training: inpainting, SDEdit, inversion, interpolation.

Sampling starts from noise; editing starts from an image, and each method defines how the image enters the levels.
"""

import math
from collections.abc import Iterator
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level, PerSample, add_noise, append_dims
from limpid.diffusion.samplers import Ddim, DpmSolverPP, Heun, Sampler
from limpid.diffusion.samplers.steps import (
    Noise,
    SamplerStep,
    add_fresh_noise,
    ancestral_std,
    final_step,
    level_pairs,
    step_to_mean,
)

Solver: TypeAlias = Ddim | Heun | DpmSolverPP
"""Samplers that solve the probability-flow ODE along falling or rising levels."""


def inpaint(
    denoise: Denoise,
    x: Batch,
    levels: Level,
    noise: Noise,
    x0_known: Batch,
    mask: Bool[Tensor, "*part"],
    resample: int = 1,
) -> Iterator[SamplerStep]:
    """Samples equal to `x0_known` where `mask` is False (RePaint: Lugmayr et al. 2022, algorithm 1, on every path).

    After each ancestral step the known pixels are replaced by x0_known noised to the level reached. Each step but the
    last is taken `resample` times, with noise added in between to return to its level, which harmonises the two parts;
    with one step each, the sampled part depends on the known one only through its noisy copies.
    """
    for here, there in level_pairs(levels):
        for again in range(resample if there.sigma > 0 else 1):
            if again:
                x = renoise(x, there, here, noise)
            x0 = denoise(x, here)
            std = ancestral_std(here, there)
            sampled = add_fresh_noise(step_to_mean(x, x0, std, here, there), std, noise)
            x = torch.where(mask, sampled, add_fresh_noise(there.like(x).alpha * x0_known, there.sigma, noise))
            yield SamplerStep(x, x0, there)


def renoise(x: Batch, here: Level, there: Level, noise: Noise) -> Batch:
    """A sample of q(x' | x), from a level to a noisier one: x' = k x + sqrt(sigma'^2 - k^2 sigma^2) eps."""
    k = there.alpha / here.alpha
    return add_fresh_noise(k * x, (there.sigma.square() - (k * here.sigma).square()).clamp(min=0).sqrt(), noise)


def from_strength(levels: Level, strength: float) -> Level:
    """The last part of a grid of levels: all of it for a `strength` of 1, only the clean level for 0.

    The strength is a share of the grid's largest angle atan(sigma / alpha), so 0.5 is about as much noise as signal on
    every path. The nearest level of the grid is the first.
    """
    angle = torch.atan2(levels.sigma, levels.alpha)
    return levels[int((angle - strength * angle[0]).abs().argmin()) :]


def sdedit(sampler: Sampler, denoise: Denoise, x0: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
    """Variations of `x0`: it is noised to the first of `levels` and sampled from there (SDEdit: Meng et al. 2022).

    The first step yields the noisy image. `from_strength` gives the levels of a strength.
    """
    x = add_noise(x0, noise(), levels[0])
    yield SamplerStep(x, x0, levels[0])
    if len(levels) > 1:
        yield from sampler(denoise, x, levels, noise)


def invert(sampler: Solver, denoise: Denoise, x0: Batch, levels: Level) -> Iterator[SamplerStep]:
    """From images to the noise from which a deterministic sampler generates them (Song et al. 2021, section 4.3).

    A deterministic sampler solves the probability-flow ODE in either direction: here along `levels`, those of sampling,
    from the last to the first. At sigma = 0 the ODE has no slope, so the trajectory begins at the lowest level above
    it, with `x0` in place of x, an error of order sigma^2. The noise is the x of the last step.
    """
    rising = Level(levels.alpha[:-1].flip(0), levels.sigma[:-1].flip(0))
    x = rising[0].like(x0).alpha * x0
    yield SamplerStep(x, x0, rising[0])
    if len(rising) > 1:
        yield from sampler(denoise, x, rising, no_noise)


def interpolate(
    sampler: Solver, denoise: Denoise, ends: Batch, t: Float[Tensor, " n"], levels: Level
) -> Iterator[SamplerStep]:
    """Images between `ends[0]`, at t = 0, and `ends[1]`, at t = 1, by interpolation between their noises.

    Takes two images and yields one for each t (Song et al. 2021, section 5.3, between real images). The first step
    yields the noises.
    """
    top = final_step(invert(sampler, denoise, ends, levels)).x
    first, second = top[:, None].expand(-1, len(t), *ends.shape[1:])
    x = slerp(first, second, t)
    yield SamplerStep(x, torch.zeros_like(x), levels[0])
    yield from sampler(denoise, x, levels, no_noise)


def slerp(a: Batch, b: Batch, t: PerSample) -> Batch:
    """Spherical interpolation between two noises, which keeps their norm (Shoemake 1985).

    The middle of a straight line has half the variance of either noise. The straight line is taken where a and b are
    parallel: there both are equal.
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)
    angle, t = cosine.arccos(), t.to(a.device, a.dtype)
    apart = angle > math.sqrt(torch.finfo(a.dtype).eps)
    sine = torch.where(apart, angle.sin(), 1)
    from_a = torch.where(apart, ((1 - t) * angle).sin() / sine, 1 - t)
    from_b = torch.where(apart, (t * angle).sin() / sine, t)
    return append_dims(from_a, a) * a + append_dims(from_b, b) * b


def no_noise() -> Batch:
    """The noise of a sampler that must be deterministic: raises ValueError if it is called."""
    raise ValueError(
        "this sampler adds noise, and an image has one noise only along an ODE: choose Ddim with eta 0, Heun without"
        " churn, or DpmSolverPP"
    )
