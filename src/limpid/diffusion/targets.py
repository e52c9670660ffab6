"""A target is a row (a, b): the network predicts y = a * x0 + b * eps.

Together with x = alpha * x0 + sigma * eps that makes two equations in two unknowns, solved once in `x0_from`. No row
depends on the path: each is a function of sigma / alpha alone, so a network predicts the same on every path.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Batch, Level, append_dims

Coefficients: TypeAlias = tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]


@dataclass(frozen=True)
class X0:
    """The clean image x0."""

    def coefficients(self, level: Level) -> Coefficients:
        return torch.ones_like(level.alpha), torch.zeros_like(level.alpha)


@dataclass(frozen=True)
class Eps:
    """The noise (Ho et al. 2020, eq. 14).

    An error of eps gives an error of sigma / alpha times its size in x0: near pure noise float32's rounding is visible.
    """

    def coefficients(self, level: Level) -> Coefficients:
        return torch.zeros_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class V:
    """The velocity along the variance-preserving circle (Salimans and Ho 2022, appendix D)."""

    def coefficients(self, level: Level) -> Coefficients:
        circle = level.to_vp()
        return -circle.sigma, circle.alpha


@dataclass(frozen=True)
class Flow:
    """The velocity along the straight path, eps - x0 (Liu et al. 2022; Lipman et al. 2022)."""

    def coefficients(self, level: Level) -> Coefficients:
        return -torch.ones_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class Edm:
    """The F of unit variance for data of standard deviation `sigma_data` (Karras et al. 2022, table 1)."""

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise ValueError(f"sigma_data {self.sigma_data}: expected a standard deviation above 0")

    def coefficients(self, level: Level) -> Coefficients:
        s = self.sigma_data
        # r / (s h) and -s / h with r = sigma / alpha and h = hypot(r, s), expanded by alpha.
        h = torch.hypot(level.sigma, s * level.alpha)
        return level.sigma / (s * h), -s * level.alpha / h


Target: TypeAlias = X0 | Eps | V | Flow | Edm


def target(kind: Target, x0: Batch, eps: Batch, level: Level) -> Batch:
    """The target y = a x0 + b eps, which the network learns to predict."""
    a, b = kind.coefficients(level)
    return append_dims(a, x0) * x0 + append_dims(b, x0) * eps


def x0_from(kind: Target, y: Batch, x: Batch, level: Level) -> Batch:
    """x0 from the predicted target `y`: x0 = (b x - sigma y) / (b alpha - a sigma)."""
    a, b = kind.coefficients(level)
    determinant = b * level.alpha - a * level.sigma
    return append_dims(b / determinant, x) * x - append_dims(level.sigma / determinant, x) * y


def abs_c_out(kind: Target, level: Level) -> Float[Tensor, "*b"]:
    """|c_out|: an error of the target y gives an error of |c_out| times its size in x0."""
    a, b = kind.coefficients(level)
    return (level.sigma / (b * level.alpha - a * level.sigma)).abs()
