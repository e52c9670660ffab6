"""The training loss: the squared error of the network in its target's own space, times a weight of the level.

Papers state their weights in different spaces. An error of the target is an error of the picture over `gain`, so each
weight is written once, for the picture's error, and carried over.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limpid.diffusion.denoiser import Denoiser, Labels
from limpid.diffusion.learned_variance import PosteriorBounds, vlb_loss
from limpid.diffusion.level import Batch, Level, PerSample, add_noise
from limpid.diffusion.schedules import Schedule
from limpid.diffusion.targets import Target, abs_c_out, target, x0_from

Factor: TypeAlias = Float[Tensor, "*b"]


@dataclass(frozen=True)
class Unweighted:
    """Every level counts the same: L_simple (Ho et al. 2020, eq. 14), EDM's weight for its own F, flow matching's."""

    def __call__(self, kind: Target, level: Level) -> Factor:
        return torch.ones_like(level.alpha)


@dataclass(frozen=True)
class SnrWeight:
    """The picture's error times the signal-to-noise ratio: the noise's error, whatever the target."""

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr, kind, level)


@dataclass(frozen=True)
class MinSnrWeight:
    """The picture's error times the SNR, at most `gamma` (Hang et al. 2023, eq. 7)."""

    gamma: float = 5.0

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr.clamp(max=self.gamma), kind, level)


@dataclass(frozen=True)
class SoftMinSnr:
    """MinSnr without its corner: SNR gamma / (SNR + gamma) (Crowson et al. 2024, section 3.2)."""

    gamma: float = 4.0

    def __call__(self, kind: Target, level: Level) -> Factor:
        # The same, divided above and below so that no signal and no noise both have a value.
        return x0_weight_to_target(self.gamma / (1 + self.gamma / level.snr), kind, level)


@dataclass(frozen=True)
class P2:
    """The noise's error over (k + SNR)^gamma (Choi et al. 2022, eq. 8)."""

    k: float = 1.0
    gamma: float = 1.0

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr / (self.k + level.snr) ** self.gamma, kind, level)


@dataclass(frozen=True)
class SigmoidWeight:
    """The noise's error times sigmoid(bias - log SNR) (Hoogeboom et al. 2024, section 3; Kingma and Gao 2023)."""

    bias: float = -1.0

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr * torch.sigmoid(self.bias - level.logsnr), kind, level)


@dataclass(frozen=True)
class EdmWeight:
    """The picture's error times (r^2 + s^2) / (r s)^2, r = sigma / alpha (Karras et al. 2022, table 1)."""

    sigma_data: float = 0.5

    def __call__(self, kind: Target, level: Level) -> Factor:
        return x0_weight_to_target(level.snr + self.sigma_data**-2, kind, level)


Weight: TypeAlias = Unweighted | SnrWeight | MinSnrWeight | SoftMinSnr | P2 | SigmoidWeight | EdmWeight


class UncertaintyWeighting(nn.Module):
    """How large the loss is expected to be at each level, learnt along with the network (Karras et al. 2024, eq. 21).

    Its answer is the logarithm of the loss: an objective of loss / exp(answer) + answer is least where that is so, and
    every level then weighs the same. Levels are seen through random sines of ln(sigma / alpha).
    """

    frequencies: Float[Tensor, " n"]
    phases: Float[Tensor, " n"]

    def __init__(self, features: int = 128):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(features))
        self.register_buffer("phases", torch.rand(features))
        self.weight = nn.Parameter(torch.zeros(features))

    def forward(self, level: Level) -> PerSample:
        """The logarithm of the loss expected at each level."""
        where = (level.edm_sigma.log() / 4).clamp(-5, 5).float()[:, None]
        waves = torch.cos(2 * math.pi * (where * self.frequencies + self.phases))
        return waves @ self.weight * (2 / len(self.weight)) ** 0.5

    def weighted_loss(self, loss: PerSample, level: Level) -> PerSample:
        """What to minimise in place of the loss."""
        expected = self(level)
        return loss / expected.exp() + expected


def x0_weight_to_target(for_picture: Factor, kind: Target, level: Level) -> Factor:
    """What a weight of the picture's error is for the target's."""
    return for_picture * abs_c_out(kind, level).square()


def check_noisiest_loss(weight: Weight, kind: Target, schedule: Schedule, learned_variance: bool = False) -> None:
    """Raise ValueError if the loss is not finite at the noisiest level of training, as of Eps where there is no signal.

    Every weight but Flat is infinite or 0 / 0 there, and so is the picture that a learnt variance is measured by.
    """
    level = schedule(torch.tensor([1 - 1e-9], dtype=torch.float64))  # a billion draws come as near to u = 1
    if not weight(kind, level).float().isfinite().all():
        what = f"weight {weight}"
    elif learned_variance and not abs_c_out(kind, level).isfinite().all():
        what = "learnt variance"
    else:
        return
    raise ValueError(
        f"{what} with target {kind} has no finite loss at the noisiest level of {schedule}: choose another target, "
        "like V, or another schedule, or weight Flat without a learnt variance"
    )


def denoising_loss(
    model: Denoiser,
    x0: Batch,
    eps: Batch,
    level: Level,
    labels: Labels | None = None,
    weight: Weight = Unweighted(),
    posterior: PosteriorBounds | None = None,
) -> PerSample:
    """The weighted mean squared error of each sample, in float32; `level` holds one level per sample.

    A model that learns its variance is given the `step` of a chain at that level, and learns it besides.
    """
    x = add_noise(x0, eps, level)
    y, share = model.raw_output(x, level, labels)
    error = y - target(model.target, x0, eps, level)
    loss = error.square().flatten(1).mean(1) * weight(model.target, level).float()
    if share is None or posterior is None:
        return loss
    return loss + vlb_loss(x0, x0_from(model.target, y.detach(), x, level), share, posterior)
