"""Schedules of T steps: a table of betas, in which u in [0, 1] is at step t = ceil(u T)."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Level, UnitInterval
from limpid.diffusion.schedule_html import schedule_html

MAX_STEPS = 1_000_000
"""Limit of the number of steps of a schedule or a sampler, all of which are held in memory."""


def check_step_count(name: str, steps: int) -> None:
    """Raise ValueError unless there are 1 to `MAX_STEPS` steps."""
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"{name} {steps}: expected 1 to {MAX_STEPS:,} steps")


@dataclass(frozen=True)
class LinearBeta:
    """T steps whose beta rises linearly (Ho et al. 2020, section 4)."""

    T: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def __post_init__(self) -> None:
        check_step_count(f"{type(self).__name__}.T", self.T)

    def betas(self) -> Float[Tensor, " T"]:
        """beta_1 ... beta_T in float64."""
        return torch.linspace(self.beta_start, self.beta_end, self.T, dtype=torch.float64)

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        return _from_table(self, u)


@dataclass(frozen=True)
class ScaledLinearBeta:
    """T steps whose square root of beta rises linearly (Rombach et al. 2022, latent diffusion)."""

    T: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012

    def __post_init__(self) -> None:
        check_step_count(f"{type(self).__name__}.T", self.T)

    def betas(self) -> Float[Tensor, " T"]:
        """beta_1 ... beta_T in float64."""
        return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.T, dtype=torch.float64).square()

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        return _from_table(self, u)


@dataclass(frozen=True)
class Cosine:
    """T steps along a squared cosine (Nichol and Dhariwal 2021, eq. 17), each beta at most `beta_max`."""

    T: int = 1000
    offset: float = 0.008
    beta_max: float = 0.999

    def __post_init__(self) -> None:
        check_step_count(f"{type(self).__name__}.T", self.T)

    def betas(self) -> Float[Tensor, " T"]:
        """beta_1 ... beta_T in float64."""
        t = torch.arange(self.T + 1, dtype=torch.float64) / self.T
        alpha_bar = ((t + self.offset) / (1 + self.offset) * math.pi / 2).cos().square()
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=self.beta_max)

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        return _from_table(self, u)


@dataclass(frozen=True)
class ZeroTerminalSnr:
    """Another schedule rescaled so that its last step is pure noise and its first unchanged (Lin et al. 2023,
    algorithm 1).

    At pure noise eps does not determine x0: train with the target V, Flow, X0 or Edm, not Eps.
    """

    table: LinearBeta | ScaledLinearBeta | Cosine = LinearBeta()

    @property
    def T(self) -> int:
        """The number of steps."""
        return self.table.T

    def betas(self) -> Float[Tensor, " T"]:
        """beta_1 ... beta_T in float64; the last is 1."""
        alpha = (1 - self.table.betas()).cumprod(0).sqrt()
        rescaled = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
        alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), rescaled.square()])
        return 1 - alpha_bar[1:] / alpha_bar[:-1]

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        return _from_table(self, u)


Discrete: TypeAlias = LinearBeta | ScaledLinearBeta | Cosine | ZeroTerminalSnr


@lru_cache(maxsize=64)
def alpha_bars(schedule: Discrete, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " steps"]:
    """alpha_bar_0 = 1, then alpha_bar_t = prod_{s <= t} (1 - beta_s), multiplied in float64."""
    products = (1 - schedule.betas()).cumprod(0)
    return torch.cat([torch.ones(1, dtype=torch.float64), products]).to(dtype).to(device)


def _from_table(schedule: Discrete, u: UnitInterval) -> Level:
    """The level at step t = ceil(u T); u = t / T gives step t, however it was rounded."""
    t = (u * schedule.T * (1 - 8 * torch.finfo(u.dtype).eps)).ceil().long().clamp(0, schedule.T)
    alpha_bar = alpha_bars(schedule, u.dtype, u.device)[t]
    return Level(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())
