"""A schedule is a function u in [0, 1] -> Level, from clean to noise.

Fed stratified uniforms it is the distribution of levels in training; fed a falling grid it is the steps of a sampler.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Level

UnitInterval: TypeAlias = Float[Tensor, " n"]


MAX_STEPS = 1_000_000
"""Steps that a schedule or a sampler may have: each takes memory before the first is made."""


def check_step_count(name: str, steps: int) -> None:
    """Raise ValueError unless there are 1 to `MAX_STEPS` of them."""
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"{name} {steps}: expected 1 to {MAX_STEPS:,} steps")


# Schedules of T steps: a table of betas, of which u is at step t = ceil(u T).


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

    def __call__(self, u: UnitInterval) -> Level:
        return _from_table(self, u)


@dataclass(frozen=True)
class ZeroTerminalSnr:
    """Another table bent so that its last step is pure noise and its first stays (Lin et al. 2023, algorithm 1).

    There the noise says nothing of the picture: ask the network for V, Flow, X0 or Edm, never for Eps.
    """

    table: LinearBeta | ScaledLinearBeta | Cosine = LinearBeta()

    @property
    def T(self) -> int:
        """The steps of the table."""
        return self.table.T

    def betas(self) -> Float[Tensor, " T"]:
        """beta_1 ... beta_T in float64; the last is 1."""
        alpha = (1 - self.table.betas()).cumprod(0).sqrt()
        bent = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
        alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), bent.square()])
        return 1 - alpha_bar[1:] / alpha_bar[:-1]

    def __call__(self, u: UnitInterval) -> Level:
        return _from_table(self, u)


Discrete: TypeAlias = LinearBeta | ScaledLinearBeta | Cosine | ZeroTerminalSnr


@lru_cache(maxsize=64)
def alpha_bars(schedule: Discrete, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " steps"]:
    """alpha_bar_0 = 1, then alpha_bar_t = prod_{s <= t} (1 - beta_s), multiplied in float64."""
    products = (1 - schedule.betas()).cumprod(0)
    return torch.cat([torch.ones(1, dtype=torch.float64), products]).to(dtype).to(device)


def _from_table(schedule: Discrete, u: UnitInterval) -> Level:
    """The level at step t = ceil(u T), where a u that stands for t / T counts as that whatever its rounding."""
    t = (u * schedule.T * (1 - 8 * torch.finfo(u.dtype).eps)).ceil().long().clamp(0, schedule.T)
    alpha_bar = alpha_bars(schedule, u.dtype, u.device)[t]
    return Level(alpha_bar.sqrt(), (1 - alpha_bar).sqrt())


# Schedules without steps.


@dataclass(frozen=True)
class VpSde:
    """The limit of LinearBeta for many steps, the variance-preserving SDE (Song et al. 2021, eq. 33)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __call__(self, u: UnitInterval) -> Level:
        exponent = u * self.beta_min + u.square() * (self.beta_max - self.beta_min) / 2
        return Level((-exponent / 2).exp(), (-torch.expm1(-exponent)).sqrt())


@dataclass(frozen=True)
class Sigmoid:
    """alpha_bar falls along a sigmoid from `start` to `end`, to zero at the end (Jabri et al. 2022, algorithm 1)."""

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0

    def __call__(self, u: UnitInterval) -> Level:
        first, last = (1 / (1 + math.exp(-edge / self.tau)) for edge in (self.start, self.end))
        here = torch.sigmoid((self.start + u * (self.end - self.start)) / self.tau)
        gone = ((here - first) / (last - first)).clamp(0, 1)
        return Level((1 - gone).sqrt(), gone.sqrt())


@dataclass(frozen=True)
class RectifiedFlow:
    """The straight path alpha = 1 - t, sigma = t of flow matching (Lipman et al. 2022; Liu et al. 2022).

    `shift` above 1 spends more on noise, as large pictures need: t = shift u / (1 + (shift - 1) u) (Esser et al. 2024,
    eq. 23).
    """

    shift: float = 1.0

    def __call__(self, u: UnitInterval) -> Level:
        t = self.shift * u / (1 + (self.shift - 1) * u)
        return Level(1 - t, t)


@dataclass(frozen=True)
class LogitNormal:
    """logit(t) ~ N(mean, std) on the straight path, for training flows (Esser et al. 2024, eq. 19)."""

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, u: UnitInterval) -> Level:
        logit = self.mean + self.std * torch.special.ndtri(u)
        return Level(torch.sigmoid(-logit), torch.sigmoid(logit))


@dataclass(frozen=True)
class LogNormal:
    """ln sigma ~ N(mean, std) on the variance-exploding path, for training (Karras et al. 2022, table 1)."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, u: UnitInterval) -> Level:
        sigma = (self.mean + self.std * torch.special.ndtri(u)).exp()
        return Level(torch.ones_like(sigma), sigma)


@dataclass(frozen=True)
class Laplace:
    """log-SNR ~ Laplace(mean, scale) on the variance-preserving path, for training (Hang et al. 2024, table 1)."""

    mean: float = 0.0
    scale: float = 0.5

    def __call__(self, u: UnitInterval) -> Level:
        away = 0.5 - u
        logsnr = self.mean - self.scale * away.sign() * torch.log1p(-2 * away.abs())
        return Level(torch.sigmoid(logsnr).sqrt(), torch.sigmoid(-logsnr).sqrt())


@dataclass(frozen=True)
class Karras:
    """Steps of a sampler on the variance-exploding path, dense near the picture (Karras et al. 2022, eq. 5).

    u = 0 is clean: the grid's last step goes from sigma_min to 0, so the power law runs over the u above it.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __call__(self, u: UnitInterval) -> Level:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        sigma = torch.lerp(torch.full_like(u, low), torch.full_like(u, high), u) ** self.rho
        return Level(torch.ones_like(sigma), sigma)


@dataclass(frozen=True)
class ShiftedSnr:
    """Another schedule with every sigma / alpha multiplied, on the variance-preserving path.

    A picture of twice the edge shows as much through twice the noise: `factor` is the edge over that for which the
    schedule was made (Hoogeboom et al. 2023, eq. 4).
    """

    schedule: LinearBeta | ScaledLinearBeta | Cosine | VpSde | Sigmoid | LogNormal | Laplace | Karras = Cosine()
    factor: float = 2.0

    def __call__(self, u: UnitInterval) -> Level:
        level = self.schedule(u)
        return Level(level.alpha, self.factor * level.sigma).to_vp()


Continuous: TypeAlias = VpSde | Sigmoid | RectifiedFlow | LogitNormal | LogNormal | Laplace | Karras | ShiftedSnr
Schedule: TypeAlias = Discrete | Continuous


@lru_cache(maxsize=64)
def check_levels(schedule: Schedule) -> None:
    """Raise ValueError unless a schedule has levels between its ends: finite, with no less noise where u is more."""
    expected = "expected numbers that give alpha and sigma from 0 up, with more noise as u goes from 0 to 1"
    try:
        level = schedule((torch.arange(64, dtype=torch.float64) + 0.5) / 64)
    except (RuntimeError, ArithmeticError, LookupError) as error:
        raise ValueError(f"{schedule} has no levels: {expected}") from error
    alpha, sigma = level.alpha, level.sigma
    norm = torch.hypot(alpha, sigma)
    right = norm.isfinite() & (norm > 0) & (alpha >= 0) & (sigma >= 0)
    falls = alpha[:-1] * sigma[1:] - alpha[1:] * sigma[:-1] < -1e-9 * norm[:-1] * norm[1:]
    if not right.all() or falls.any() or sigma[-1] == 0:
        raise ValueError(f"{schedule} has no levels: {expected}")


def extended_to_sigma(schedule: Schedule, sigma: float) -> Schedule:
    """The schedule down to this sigma / alpha at least: where a sampler stops is its own choice, not the model's."""
    if isinstance(schedule, ShiftedSnr):
        return replace(schedule, schedule=extended_to_sigma(schedule.schedule, sigma / schedule.factor))
    if not isinstance(schedule, Karras):
        return schedule
    return replace(schedule, sigma_min=min(schedule.sigma_min, sigma))


def stratified(n: int, generator: torch.Generator) -> UnitInterval:
    """n uniforms in (0, 1), one in each n-th: the variance of a mean over levels is smaller than by free draws."""
    # Apple's GPUs have no float64.
    dtype = torch.float32 if generator.device.type == "mps" else torch.float64
    within = torch.rand(n, generator=generator, dtype=dtype, device=generator.device)
    return (torch.arange(n, dtype=dtype, device=generator.device) + within) / n


Spacing: TypeAlias = Literal["trailing", "leading", "linspace"]


def sampling_levels(schedule: Schedule, steps: int, spacing: Spacing = "trailing") -> Level:
    """The levels of a sampler: `steps + 1` of them on the CPU in float64, from noise down to sigma = 0.

    A schedule that is clean at u = 0 is cut into `steps` equal parts of u. One that keeps some noise there (Karras)
    gives `steps` levels, and the last step goes from the lowest of them to none. A table of T steps is cut as diffusers
    does it (Lin et al. 2023, table 2): "trailing" into parts that are equal but for rounding to whole steps, "leading"
    never meets its noisiest step, "linspace" both ends.
    Raises ValueError where the schedule has fewer levels than that, or is infinitely noisy at u = 1.
    """
    if steps < 1:
        raise ValueError(f"sampling takes at least 1 step, not {steps}")
    check_step_count("sampling steps", steps)
    levels = schedule(_falling(schedule, steps, spacing))
    if levels.sigma[-1] > 0:
        one, zero = torch.eye(2, dtype=torch.float64)
        levels = Level(torch.cat([levels.alpha, one[:1]]), torch.cat([levels.sigma, zero[:1]]))
    if not levels.sigma.isfinite().all():
        raise ValueError(f"{schedule} is infinitely noisy at its end: choose another to sample along, like Karras")
    if (levels.alpha[1:] * levels.sigma[:-1] <= levels.alpha[:-1] * levels.sigma[1:]).any():
        raise ValueError(f"{schedule} has no {steps} different levels: ask for fewer steps")
    return levels


def _falling(schedule: Schedule, steps: int, spacing: Spacing) -> UnitInterval:
    """u from 1 to 0 where the schedule is clean there, else to the last level before the step to none."""
    T = getattr(schedule.schedule if isinstance(schedule, ShiftedSnr) else schedule, "T", 0)
    if T:
        return _timesteps(T, steps, spacing) / T
    if spacing != "trailing":
        raise ValueError(f"{spacing} spacing is for schedules of T steps, not for {schedule}: leave it at trailing")
    clean = schedule(torch.zeros(1, dtype=torch.float64)).sigma.item() == 0
    return torch.linspace(1, 0, steps + 1 if clean else steps, dtype=torch.float64)


def _timesteps(T: int, steps: int, spacing: Spacing) -> UnitInterval:
    """Steps of a table, 1 ... T, the noisiest first: those of diffusers, which counts from 0.

    Strides are rounded as numpy does in `arange` and `linspace`: where a half goes depends on the last bit.
    """
    i = torch.arange(steps, dtype=torch.float64)
    if spacing == "trailing":
        return (T + i * ((T - T / steps) - T)).round()
    if spacing == "leading":
        return i.flip(0) * (T // steps) + 1
    return (i * ((T - 1) / max(steps - 1, 1))).round().flip(0) + 1
