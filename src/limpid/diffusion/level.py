"""A noise level is a point (alpha, sigma): x = alpha * x0 + sigma * eps.

Variance-preserving (alpha^2 + sigma^2 = 1), variance-exploding (alpha = 1) and straight (alpha = 1 - sigma) paths
differ only in which points they visit.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Batch: TypeAlias = Float[Tensor, "b *d"]
PerSample: TypeAlias = Float[Tensor, " b"]
UnitInterval: TypeAlias = Float[Tensor, " n"]
"""Positions on a schedule: numbers in [0, 1], from clean to noise."""


@dataclass(frozen=True, eq=False)
class Level:
    """One level (tensors of shape ()), one per sample (b,), or a sequence of levels (n,); preferably in float64."""

    alpha: Float[Tensor, "*b"]
    sigma: Float[Tensor, "*b"]

    @property
    def edm_sigma(self) -> Float[Tensor, "*b"]:
        """Noise over signal, sigma / alpha: the sigma of Karras et al. (2022)."""
        return self.sigma / self.alpha

    @property
    def snr(self) -> Float[Tensor, "*b"]:
        """Signal-to-noise ratio, alpha^2 / sigma^2."""
        return (self.alpha / self.sigma).square()

    @property
    def logsnr(self) -> Float[Tensor, "*b"]:
        """The logarithm of `snr`: +inf without noise, -inf without signal."""
        return 2 * (self.alpha.log() - self.sigma.log())

    def to_vp(self) -> "Level":
        """The level with the same sigma / alpha on the variance-preserving circle."""
        norm = torch.hypot(self.alpha, self.sigma)
        return Level(self.alpha / norm, self.sigma / norm)

    def like(self, x: Float[Tensor, "..."]) -> "Level":
        """This level in the dtype and on the device of `x`, with axes appended so that it multiplies `x`."""
        return Level(append_dims(self.alpha, x), append_dims(self.sigma, x))

    def __getitem__(self, index: int | slice) -> "Level":
        return Level(self.alpha[index], self.sigma[index])

    def __len__(self) -> int:
        return len(self.alpha)


def append_dims(value: Float[Tensor, "*b"], x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """One value, or one per sample, in the dtype of `x` and with axes appended so that it multiplies `x`."""
    if value.ndim == 0:  # stays on the CPU, from where it multiplies a tensor of any device without a copy
        return value.to(x.dtype)
    return value.to(x.device, x.dtype).reshape(value.shape + (1,) * (x.ndim - value.ndim))


def add_noise(x0: Batch, eps: Batch, level: Level) -> Batch:
    """The forward process q(x_t | x_0) of every path, each sample at its own level (Ho et al. 2020, eq. 4)."""
    level = level.like(x0)
    return level.alpha * x0 + level.sigma * eps


def eps_from(x0: Batch, x: Batch, level: Level) -> Batch:
    """The eps in x = alpha x0 + sigma eps: (x - alpha x0) / sigma."""
    level = level.like(x)
    return (x - level.alpha * x0) / level.sigma
