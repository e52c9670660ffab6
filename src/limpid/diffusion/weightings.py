"""Loss weightings: a weight of the squared error at each level, as the papers give them.

Papers state their weights for the error of x0, of eps or of v. The error of the target is the error of x0 divided by
`abs_c_out`, so each weighting is written once, for the squared error of x0, and converted to the target.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Level
from limpid.diffusion.targets import Target, abs_c_out

Factor: TypeAlias = Float[Tensor, "*b"]


@dataclass(frozen=True)
class Unweighted:
    """1 at every level: L_simple (Ho et al. 2020, eq. 14), EDM's weighting of F, flow matching's of the velocity."""

    def __call__(self, kind: Target, level: Level) -> Factor:
        return torch.ones_like(level.alpha)


@dataclass(frozen=True)
class SnrWeight:
    """The SNR for the error of x0, which is 1 for the error of eps, whatever the target."""

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr, kind, level)


@dataclass(frozen=True)
class MinSnrWeight:
    """min(SNR, gamma) for the error of x0 (Hang et al. 2023, eq. 7)."""

    gamma: float = 5.0

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr.clamp(max=self.gamma), kind, level)


@dataclass(frozen=True)
class SoftMinSnr:
    """A smooth min-SNR: SNR gamma / (SNR + gamma) for the error of x0 (Crowson et al. 2024, section 3.2)."""

    gamma: float = 4.0

    def __call__(self, kind: Target, level: Level) -> Factor:
        # Numerator and denominator divided by the SNR, so that an SNR of 0 and one of infinity both have a value.
        return x0_weight_to_target(self.gamma / (1 + self.gamma / level.snr), kind, level)


@dataclass(frozen=True)
class P2:
    """1 / (k + SNR)^gamma for the error of eps (Choi et al. 2022, eq. 8)."""

    k: float = 1.0
    gamma: float = 1.0

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr / (self.k + level.snr) ** self.gamma, kind, level)


@dataclass(frozen=True)
class SigmoidWeight:
    """sigmoid(bias - log SNR) for the error of eps (Hoogeboom et al. 2024, section 3; Kingma and Gao 2023)."""

    bias: float = -1.0

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr * torch.sigmoid(self.bias - level.logsnr), kind, level)


@dataclass(frozen=True)
class EdmWeight:
    """(r^2 + s^2) / (r s)^2, r = sigma / alpha, s = sigma_data, for the error of x0 (Karras et al. 2022, table 1)."""

    sigma_data: float = 0.5

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr + self.sigma_data**-2, kind, level)


Weight: TypeAlias = Unweighted | SnrWeight | MinSnrWeight | SoftMinSnr | P2 | SigmoidWeight | EdmWeight


def x0_weight_to_target(for_x0: Factor, kind: Target, level: Level) -> Factor:
    """The weight of the squared error of the target that is equivalent to this weight of the squared error of x0."""
    return for_x0 * abs_c_out(kind, level).square()
