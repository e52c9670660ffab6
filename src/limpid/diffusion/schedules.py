"""A schedule is a function u in [0, 1] -> Level, from clean to noise.

Applied to stratified uniforms it gives the levels of training; applied to a falling grid, the steps of a sampler.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Literal, TypeAlias

import torch

from limpid.diffusion.continuous_schedules import (
    Continuous,
    Karras,
    Laplace,
    LogitNormal,
    LogNormal,
    RectifiedFlow,
    ShiftedSnr,
    Sigmoid,
    VpSde,
)
from limpid.diffusion.discrete_schedules import (
    Cosine,
    Discrete,
    LinearBeta,
    ScaledLinearBeta,
    ZeroTerminalSnr,
    alpha_bars,
    check_step_count,
)
from limpid.diffusion.level import Level, UnitInterval

__all__ = [
    "Continuous",
    "Cosine",
    "Discrete",
    "Karras",
    "Laplace",
    "LinearBeta",
    "LogNormal",
    "LogitNormal",
    "RectifiedFlow",
    "ScaledLinearBeta",
    "Schedule",
    "ShiftedSnr",
    "Sigmoid",
    "Spacing",
    "VpSde",
    "ZeroTerminalSnr",
    "alpha_bars",
    "check_levels",
    "extended_to_sigma",
    "num_timesteps",
    "sampling_levels",
    "step_betas",
    "stratified",
]

Schedule: TypeAlias = Discrete | Continuous


@lru_cache(maxsize=64)
def check_levels(schedule: Schedule) -> None:
    """Raise ValueError unless the levels of a schedule are finite and their noise does not decrease as u increases."""
    expected = "expected numbers that give alpha and sigma from 0 up, with more noise as u goes from 0 to 1"
    try:
        level = schedule((torch.arange(64, dtype=torch.float64) + 0.5) / 64)
    except (RuntimeError, ArithmeticError, LookupError) as error:
        raise ValueError(f"{schedule} has no levels: {expected}") from error
    alpha, sigma = level.alpha, level.sigma
    norm = torch.hypot(alpha, sigma)
    valid = norm.isfinite() & (norm > 0) & (alpha >= 0) & (sigma >= 0)
    noise_falls = alpha[:-1] * sigma[1:] - alpha[1:] * sigma[:-1] < -1e-9 * norm[:-1] * norm[1:]
    if not valid.all() or noise_falls.any() or sigma[-1] == 0:
        raise ValueError(f"{schedule} has no levels: {expected}")


def extended_to_sigma(schedule: Schedule, sigma: float) -> Schedule:
    """The schedule with levels down to this sigma / alpha or below; a schedule that reaches 0 is returned unchanged."""
    if isinstance(schedule, ShiftedSnr):
        return replace(schedule, schedule=extended_to_sigma(schedule.schedule, sigma / schedule.factor))
    if not isinstance(schedule, Karras):
        return schedule
    return replace(schedule, sigma_min=min(schedule.sigma_min, sigma))


def num_timesteps(schedule: Schedule) -> int:
    """T of a discrete schedule, whose step t is at u = t / T; 0 for a continuous one."""
    return getattr(schedule.schedule if isinstance(schedule, ShiftedSnr) else schedule, "T", 0)


def step_betas(levels: Level) -> UnitInterval:
    """The variance that each step adds between neighbouring levels, from clean to noise: beta_t = 1 - alpha_bar_t /
    alpha_bar_{t-1} (Ho et al. 2020, eq. 4), on the variance-preserving circle for any path."""
    alpha_bar = levels.to_vp().alpha.square()
    return 1 - alpha_bar[1:] / alpha_bar[:-1]


def stratified(n: int, generator: torch.Generator) -> UnitInterval:
    """n uniforms in (0, 1), one in each interval of length 1 / n: a mean over them has less variance than over
    independent ones."""
    # Apple's GPUs have no float64.
    dtype = torch.float32 if generator.device.type == "mps" else torch.float64
    within = torch.rand(n, generator=generator, dtype=dtype, device=generator.device)
    return (torch.arange(n, dtype=dtype, device=generator.device) + within) / n


Spacing: TypeAlias = Literal["trailing", "leading", "linspace"]


def sampling_levels(schedule: Schedule, steps: int, spacing: Spacing = "trailing") -> Level:
    """The levels of a sampler: `steps + 1` of them on the CPU in float64, from noise down to sigma = 0.

    A schedule without noise at u = 0 is divided into `steps` equal parts of u. One with noise there (Karras) gives
    `steps` levels, and the last step goes from the lowest of them to 0. The T timesteps of a discrete schedule are
    spaced as in diffusers (Lin et al. 2023, table 2): "trailing" evenly from T down, "leading" evenly from 1 up, which
    skips the noisiest timestep, "linspace" evenly from T to 1. Raises ValueError if the schedule has fewer different
    levels, or infinite noise at u = 1.
    """
    if steps < 1:
        raise ValueError(f"sampling steps {steps}: expected at least 1")
    check_step_count("sampling steps", steps)
    levels = schedule(_falling(schedule, steps, spacing))
    if levels.sigma[-1] > 0:
        one, zero = torch.eye(2, dtype=torch.float64)
        levels = Level(torch.cat([levels.alpha, one[:1]]), torch.cat([levels.sigma, zero[:1]]))
    if not levels.sigma.isfinite().all():
        raise ValueError(f"{schedule} has infinite noise at u = 1: choose another sampling schedule, like Karras")
    if (levels.alpha[1:] * levels.sigma[:-1] <= levels.alpha[:-1] * levels.sigma[1:]).any():
        raise ValueError(f"{schedule} has fewer than {steps} different levels: choose fewer steps")
    return levels


def _falling(schedule: Schedule, steps: int, spacing: Spacing) -> UnitInterval:
    """u from 1 to 0 if the schedule has no noise at 0; otherwise without the final step to sigma = 0."""
    if T := num_timesteps(schedule):
        return _timesteps(T, steps, spacing) / T
    if spacing != "trailing":
        raise ValueError(f"{spacing} spacing is for discrete schedules, not for {schedule}: choose trailing")
    clean = schedule(torch.zeros(1, dtype=torch.float64)).sigma.item() == 0
    return torch.linspace(1, 0, steps + 1 if clean else steps, dtype=torch.float64)


def _timesteps(T: int, steps: int, spacing: Spacing) -> UnitInterval:
    """The timesteps of a sampler, in 1 ... T, the noisiest first: those of diffusers, which counts from 0.

    Computed as in numpy's `arange` and `linspace`: how a half is rounded depends on the last bit.
    """
    i = torch.arange(steps, dtype=torch.float64)
    if spacing == "trailing":
        return (T + i * ((T - T / steps) - T)).round()
    if spacing == "leading":
        return i.flip(0) * (T // steps) + 1
    return (i * ((T - 1) / max(steps - 1, 1))).round().flip(0) + 1
