"""A schedule is a function u in [0, 1] -> Level, from clean to noise.

Fed stratified uniforms it is the distribution of levels in training; fed a falling grid it is the steps of a sampler.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Level

Unit: TypeAlias = Float[Tensor, " n"]


@dataclass(frozen=True)
class LinearBeta:
    """T steps whose beta rises linearly (Ho et al. 2020, section 4): u is at step t = ceil(u T)."""

    T: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def betas(self) -> Float[Tensor, " T"]:
        """beta_1 ... beta_T in float64."""
        return torch.linspace(self.beta_start, self.beta_end, self.T, dtype=torch.float64)

    def __call__(self, u: Unit) -> Level:
        return _from_table(self, u)


@dataclass(frozen=True)
class Cosine:
    """T steps along a squared cosine (Nichol and Dhariwal 2021, eq. 17), each beta at most `beta_max`."""

    T: int = 1000
    offset: float = 0.008
    beta_max: float = 0.999

    def betas(self) -> Float[Tensor, " T"]:
        """beta_1 ... beta_T in float64."""
        t = torch.arange(self.T + 1, dtype=torch.float64) / self.T
        alpha_bar = ((t + self.offset) / (1 + self.offset) * math.pi / 2).cos().square()
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=self.beta_max)

    def __call__(self, u: Unit) -> Level:
        return _from_table(self, u)


Discrete: TypeAlias = LinearBeta | Cosine


@dataclass(frozen=True)
class LogNormal:
    """ln sigma ~ N(mean, std) on the variance-exploding path, for training (Karras et al. 2022, table 1)."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, u: Unit) -> Level:
        sigma = (self.mean + self.std * torch.special.ndtri(u)).exp()
        return Level(torch.ones_like(sigma), sigma)


@dataclass(frozen=True)
class Karras:
    """Steps of a sampler on the variance-exploding path, dense near the picture (Karras et al. 2022, eq. 5).

    u = 0 is clean: the grid's last step goes from sigma_min to 0, so the power law runs over the u above it.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __call__(self, u: Unit) -> Level:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        sigma = torch.lerp(torch.full_like(u, low), torch.full_like(u, high), u) ** self.rho
        return Level(torch.ones_like(sigma), sigma)


Schedule: TypeAlias = LinearBeta | Cosine | LogNormal | Karras


@lru_cache(maxsize=64)
def alpha_bars(schedule: Discrete, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " T+1"]:
    """alpha_bar_0 = 1, then alpha_bar_t = prod_{s <= t} (1 - beta_s), multiplied in float64."""
    products = (1 - schedule.betas()).cumprod(0)
    return torch.cat([torch.ones(1, dtype=torch.float64), products]).to(dtype).to(device)


def _from_table(schedule: Discrete, u: Unit) -> Level:
    """The level at step t = ceil(u T); the small term keeps u = t / T at t where the division rounded up."""
    t = (u * schedule.T - 1e-6).ceil().long().clamp(0, schedule.T)
    alpha_bar = alpha_bars(schedule, u.dtype, u.device)[t]
    return Level(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


def stratified(n: int, generator: torch.Generator) -> Unit:
    """n uniforms in (0, 1), one in each n-th: the variance of a mean over levels is smaller than by free draws."""
    # Apple's GPUs have no float64.
    dtype = torch.float32 if generator.device.type == "mps" else torch.float64
    within = torch.rand(n, generator=generator, dtype=dtype, device=generator.device)
    return (torch.arange(n, dtype=dtype, device=generator.device) + within) / n


def grid(schedule: Schedule, steps: int) -> Level:
    """The levels of a sampler: `steps + 1` of them on the CPU in float64, from noise down to sigma = 0.

    A schedule that is clean at u = 0 is cut into `steps` equal parts of u. One that keeps some noise there (Karras)
    gives `steps` levels, and the last step goes from the lowest of them to none. Raises ValueError where the schedule
    has fewer levels than that, or is infinitely noisy at u = 1.
    """
    if steps < 1:
        raise ValueError(f"sampling takes at least 1 step, not {steps}")
    clean = schedule(torch.zeros(1, dtype=torch.float64)).sigma.item() == 0
    levels = schedule(torch.linspace(1, 0, steps + 1 if clean else steps, dtype=torch.float64))
    if not clean:
        levels = Level(
            *(
                torch.cat([values, end])
                for values, end in zip(
                    (levels.alpha, levels.sigma), torch.tensor([[1.0], [0.0]], dtype=torch.float64), strict=True
                )
            )
        )
    if not levels.sigma.isfinite().all():
        raise ValueError(
            f"{schedule} is infinitely noisy at its end and cannot be sampled along: choose another, like Karras"
        )
    if (levels.alpha[1:] * levels.sigma[:-1] <= levels.alpha[:-1] * levels.sigma[1:]).any():
        raise ValueError(f"{schedule} has no {steps} different levels: ask for fewer steps")
    return levels
