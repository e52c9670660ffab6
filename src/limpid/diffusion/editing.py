"""Editing images with any denoiser, without training: inpainting, SDEdit, inversion, interpolation.

Sampling starts from noise, editing from an image; the methods differ in how the image enters the sampler.
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

    After each ancestral step the known pixels are replaced by `x0_known` with the noise of the level reached. Each step
    but the last is taken `resample` times, with fresh noise in between to return to its level, which harmonizes the two
    parts. With one step each, the sampled part depends on the known one only through its noisy copies.
    """
    for source, target in level_pairs(levels):
        for repetition in range(resample if target.sigma > 0 else 1):
            if repetition:
                x = renoise(x, target, source, noise)
            x0 = denoise(x, source)
            std = ancestral_std(source, target)
            sampled = add_fresh_noise(step_to_mean(x, x0, std, source, target), std, noise)
            known = add_fresh_noise(target.like(x).alpha * x0_known, target.sigma, noise)
            x = torch.where(mask, sampled, known)
            yield SamplerStep(x, x0, target)


def renoise(x: Batch, source: Level, target: Level, noise: Noise) -> Batch:
    """A sample of q(x' | x), where `target` is noisier than `source`: x' = k x + sqrt(sigma'^2 - k^2 sigma^2) eps, with
    k = alpha' / alpha."""
    k = target.alpha / source.alpha
    return add_fresh_noise(k * x, (target.sigma.square() - (k * source.sigma).square()).clamp(min=0).sqrt(), noise)


def from_strength(levels: Level, strength: float) -> Level:
    """The last levels of a sampler's `levels`: all of them for a `strength` of 1, only the clean level for 0.

    The strength is a fraction of the largest angle atan(sigma / alpha), so 0.5 is about as much noise as signal on
    every path. The result begins with the level of the nearest angle.
    """
    angle = torch.atan2(levels.sigma, levels.alpha)
    return levels[int((angle - strength * angle[0]).abs().argmin()) :]


def sdedit(sampler: Sampler, denoise: Denoise, x0: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
    """Variations of `x0`: noise is added up to the first of `levels`, and removed again (SDEdit: Meng et al. 2022).

    The first step yields the noisy image. `from_strength` gives the levels for a strength.
    """
    x = add_noise(x0, noise(), levels[0])
    yield SamplerStep(x, x0, levels[0])
    if len(levels) > 1:
        yield from sampler(denoise, x, levels, noise)


def invert(sampler: Solver, denoise: Denoise, x0: Batch, levels: Level) -> Iterator[SamplerStep]:
    """The trajectory from images to the noise from which a deterministic sampler generates them (Song et al. 2021,
    section 4.3): the noise is the x of the last step.

    The sampler solves the probability-flow ODE along the sampling `levels` in reverse order. At sigma = 0 the ODE is
    singular, so the trajectory begins at the lowest level above it, with `x0` in place of x: an error of order sigma^2.
    """
    rising = Level(levels.alpha[:-1].flip(0), levels.sigma[:-1].flip(0))
    x = rising[0].like(x0).alpha * x0
    yield SamplerStep(x, x0, rising[0])
    if len(rising) > 1:
        yield from sampler(denoise, x, rising, no_noise)


def interpolate(
    sampler: Solver, denoise: Denoise, ends: Batch, t: Float[Tensor, " n"], levels: Level
) -> Iterator[SamplerStep]:
    """Images between `ends[0]`, at t = 0, and `ends[1]`, at t = 1, one for each t (Song et al. 2021, section 5.3).

    Both ends are inverted to noise, and what the sampler generates from an interpolation of the two noises is the image
    between them. The first step yields the interpolated noises.
    """
    x = slerp_between(final_step(invert(sampler, denoise, ends, levels)).x, t)
    yield SamplerStep(x, torch.zeros_like(x), levels[0])
    yield from sampler(denoise, x, levels, no_noise)


def slerp(a: Batch, b: Batch, t: PerSample) -> Batch:
    """Spherical interpolation between two noises, which keeps their norm (Shoemake 1985).

    The middle of the straight line between them has half the variance of each. Where a and b are parallel, the formula
    is 0 / 0, and the straight line, which is its limit, is taken.
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)
    angle, t = cosine.arccos(), t.to(a.device, a.dtype)
    not_parallel = angle > math.sqrt(torch.finfo(a.dtype).eps)
    sine = torch.where(not_parallel, angle.sin(), 1)
    weight_a = torch.where(not_parallel, ((1 - t) * angle).sin() / sine, 1 - t)
    weight_b = torch.where(not_parallel, (t * angle).sin() / sine, t)
    return append_dims(weight_a, a) * a + append_dims(weight_b, b) * b


def slerp_between(ends: Batch, t: Float[Tensor, " n"]) -> Float[Tensor, "n *d"]:
    """One noise for each t, by `slerp` between the two noises `ends`."""
    first, second = ends[:, None].expand(-1, len(t), *ends.shape[1:])
    return slerp(first, second, t)


def no_noise() -> Batch:
    """The `noise` of a sampler that must be deterministic: raises ValueError if it is called."""
    raise ValueError(
        "this sampler adds noise, and only a deterministic one maps an image to one noise: choose Ddim with eta 0, Heun"
        " without churn, or DpmSolverPP"
    )
