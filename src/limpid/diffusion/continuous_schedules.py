"""Schedules without steps: alpha and sigma are formulas of u in [0, 1]."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch

from limpid.diffusion.discrete_schedules import Cosine, LinearBeta, ScaledLinearBeta
from limpid.diffusion.level import Level, UnitInterval
from limpid.diffusion.schedule_html import schedule_html


@dataclass(frozen=True)
class VpSde:
    """The limit of LinearBeta for many steps, the variance-preserving SDE (Song et al. 2021, eq. 33)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        exponent = u * self.beta_min + u.square() * (self.beta_max - self.beta_min) / 2
        return Level((-exponent / 2).exp(), (-torch.expm1(-exponent)).sqrt())


@dataclass(frozen=True)
class Sigmoid:
    """alpha_bar falls along a sigmoid from `start` to `end`, to zero at the end (Jabri et al. 2022, algorithm 1)."""

    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        first, last = (1 / (1 + math.exp(-edge / self.tau)) for edge in (self.start, self.end))
        value = torch.sigmoid((self.start + u * (self.end - self.start)) / self.tau)
        noise_variance = ((value - first) / (last - first)).clamp(0, 1)
        return Level((1 - noise_variance).sqrt(), noise_variance.sqrt())


@dataclass(frozen=True)
class RectifiedFlow:
    """The straight path alpha = 1 - t, sigma = t of flow matching (Lipman et al. 2022; Liu et al. 2022).

    A `shift` above 1 moves levels towards noise, for large images: t = shift u / (1 + (shift - 1) u) (Esser et al.
    2024, eq. 23).
    """

    shift: float = 1.0

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        t = self.shift * u / (1 + (self.shift - 1) * u)
        return Level(1 - t, t)


@dataclass(frozen=True)
class LogitNormal:
    """logit(t) ~ N(mean, std) on the straight path, for training flows (Esser et al. 2024, eq. 19)."""

    mean: float = 0.0
    std: float = 1.0

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        logit = self.mean + self.std * torch.special.ndtri(u)
        return Level(torch.sigmoid(-logit), torch.sigmoid(logit))


@dataclass(frozen=True)
class LogNormal:
    """ln sigma ~ N(mean, std) on the variance-exploding path, for training (Karras et al. 2022, table 1)."""

    mean: float = -1.2
    std: float = 1.2

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        sigma = (self.mean + self.std * torch.special.ndtri(u)).exp()
        return Level(torch.ones_like(sigma), sigma)


@dataclass(frozen=True)
class Laplace:
    """log-SNR ~ Laplace(mean, scale) on the variance-preserving path, for training (Hang et al. 2024, table 1)."""

    mean: float = 0.0
    scale: float = 0.5

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        offset = 0.5 - u
        logsnr = self.mean - self.scale * offset.sign() * torch.log1p(-2 * offset.abs())
        return Level(torch.sigmoid(logsnr).sqrt(), torch.sigmoid(-logsnr).sqrt())


@dataclass(frozen=True)
class Karras:
    """Sampling steps on the variance-exploding path, dense near the data (Karras et al. 2022, eq. 5).

    u = 0 is sigma_min; the sampler's last step goes from there to sigma = 0.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        sigma = torch.lerp(torch.full_like(u, low), torch.full_like(u, high), u) ** self.rho
        return Level(torch.ones_like(sigma), sigma)


@dataclass(frozen=True)
class ShiftedSnr:
    """Another schedule with sigma / alpha multiplied by `factor`, on the variance-preserving path.

    An image of twice the resolution, averaged over 2x2 pixels, has the same signal-to-noise ratio at twice the noise:
    `factor` is the resolution divided by the one that the schedule was made for (Hoogeboom et al. 2023, eq. 4).
    """

    schedule: LinearBeta | ScaledLinearBeta | Cosine | VpSde | Sigmoid | LogNormal | Laplace | Karras = Cosine()
    factor: float = 2.0

    _repr_html_ = schedule_html

    def __call__(self, u: UnitInterval) -> Level:
        level = self.schedule(u)
        return Level(level.alpha, self.factor * level.sigma).to_vp()


Continuous: TypeAlias = VpSde | Sigmoid | RectifiedFlow | LogitNormal | LogNormal | Laplace | Karras | ShiftedSnr
