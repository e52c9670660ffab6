"""Changing pictures with any denoiser, no training needed: fill a hole, vary a picture, find its noise, blend two.

Sampling starts from noise; editing starts from a picture, and each way of it says how the picture gets into the levels.
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
"""Samplers that solve an ODE along the levels they are given, be they falling or rising."""


def inpaint(
    denoise: Denoise,
    x: Batch,
    levels: Level,
    noise: Noise,
    x0_known: Batch,
    mask: Bool[Tensor, "*part"],
    resample: int = 1,
) -> Iterator[SamplerStep]:
    """What fits into the `hole` of the `known` pictures (RePaint: Lugmayr et al. 2022, algorithm 1, on every path).

    After each ancestral step what is known is put back at the level reached. Each step but the last is taken `resample`
    times, with noise added in between to go back up: so the two parts, drawn apart, come to agree. Without that the
    hole is filled from what is known only through ever cleaner copies of it.
    """
    for here, there in level_pairs(levels):
        for again in range(resample if there.sigma > 0 else 1):
            if again:
                x = renoise(x, there, here, noise)
            x0 = denoise(x, here)
            std = ancestral_std(here, there)
            drawn = add_fresh_noise(step_to_mean(x, x0, std, here, there), std, noise)
            x = torch.where(mask, drawn, add_fresh_noise(there.like(x).alpha * x0_known, there.sigma, noise))
            yield SamplerStep(x, x0, there)


def renoise(x: Batch, here: Level, there: Level, noise: Noise) -> Batch:
    """A draw of q(x' | x), from a level to a noisier one: x' = k x + sqrt(sigma'^2 - k^2 sigma^2) eps."""
    k = there.alpha / here.alpha
    return add_fresh_noise(k * x, (there.sigma.square() - (k * here.sigma).square()).clamp(min=0).sqrt(), noise)


def from_strength(levels: Level, strength: float) -> Level:
    """The end of a grid, from `strength` on: 1 is all of it, 0 only the clean picture.

    Between them the strength is the share of the grid's angle atan(sigma / alpha), so 0.5 is about as much noise as
    signal on every path. The nearest level of the grid is taken.
    """
    angle = torch.atan2(levels.sigma, levels.alpha)
    return levels[int((angle - strength * angle[0]).abs().argmin()) :]


def sdedit(sampler: Sampler, denoise: Denoise, x0: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
    """Pictures like `x0`: noise up to the first of `levels`, and sampling from there (SDEdit: Meng et al. 2022).

    The first step shows the noisy picture. `below` gives the levels of a strength.
    """
    x = add_noise(x0, noise(), levels[0])
    yield SamplerStep(x, x0, levels[0])
    if len(levels) > 1:
        yield from sampler(denoise, x, levels, noise)


def invert(sampler: Solver, denoise: Denoise, x0: Batch, levels: Level) -> Iterator[SamplerStep]:
    """From pictures up to the noise that a deterministic sampler makes them of (Song et al. 2021, section 4.3).

    A deterministic sampler solves the probability-flow ODE, in either direction: it walks `levels`, those of sampling,
    from the last to the first. At sigma = 0 a denoiser sees no noise to go by, so the way begins at the lowest level
    above it; `x0` is taken for a picture of that level, which is off by the order of sigma^2. The noise is the last
    step's x.
    """
    rising = Level(levels.alpha[:-1].flip(0), levels.sigma[:-1].flip(0))
    x = rising[0].like(x0).alpha * x0
    yield SamplerStep(x, x0, rising[0])
    if len(rising) > 1:
        yield from sampler(denoise, x, rising, no_noise)


def interpolate(
    sampler: Solver, denoise: Denoise, ends: Batch, t: Float[Tensor, " n"], levels: Level
) -> Iterator[SamplerStep]:
    """Pictures on the way from `ends[0]`, at t = 0, to `ends[1]`, at t = 1: between the noises that they are made of.

    Takes two pictures and gives one for each t (Song et al. 2021, section 5.3, between real pictures). The first step
    shows the noises.
    """
    top = final_step(invert(sampler, denoise, ends, levels)).x
    first, second = top[:, None].expand(-1, len(t), *ends.shape[1:])
    x = slerp(first, second, t)
    yield SamplerStep(x, torch.zeros_like(x), levels[0])
    yield from sampler(denoise, x, levels, no_noise)


def slerp(a: Batch, b: Batch, t: PerSample) -> Batch:
    """Between two noises along the great circle through both, which keeps their norm (Shoemake 1985).

    The straight line would pass through less noise than either has: its middle has half the variance. It is taken only
    where a and b point the same way, and there it is the same.
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)
    angle, t = cosine.arccos(), t.to(a.device, a.dtype)
    apart = angle > math.sqrt(torch.finfo(a.dtype).eps)
    whole = torch.where(apart, angle.sin(), 1)
    from_a = torch.where(apart, ((1 - t) * angle).sin() / whole, 1 - t)
    from_b = torch.where(apart, (t * angle).sin() / whole, t)
    return append_dims(from_a, a) * a + append_dims(from_b, b) * b


def no_noise() -> Batch:
    """The noise of a sampler that must not draw any. Raises ValueError if it does."""
    raise ValueError(
        "this sampler draws noise, and a picture has one noise only along an ODE: choose Ddim with eta 0, Heun without"
        " churn, or DpmSolverPP"
    )
