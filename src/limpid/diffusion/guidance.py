"""What stands between a network and a sampler: pictures held in range, and guidance away from a weaker guess."""

import math
from dataclasses import dataclass

import torch

from limpid.diffusion.denoiser import Denoise, Denoiser, DenoiserWithVariance, Labels, map_x0
from limpid.diffusion.level import Batch, Level

MAX_WEIGHT = 1000.0
"""Far above any guidance that is of use (published ones end near 30), and far below what overflows in a sampler."""


@dataclass(frozen=True)
class Guidance:
    """Past a strong guess, away from a weak one: x0 = strong + weight (strong - weak)."""

    weight: float = 0.0
    """0 is no guidance; the guidance scale of other systems is this plus 1."""
    sigma_lo: float = 0.0
    """Guide only where sigma / alpha is above this ..."""
    sigma_hi: float = math.inf
    """... and below this (Kynkaanniemi et al. 2024); elsewhere the weak guess is not even computed."""
    rescale: float = 0.0
    """How far the contrast of the guided picture is brought back to the strong guess's (Lin et al. 2023, eq. 16)."""

    def __post_init__(self) -> None:
        if not abs(self.weight) <= MAX_WEIGHT:
            raise ValueError(
                f"guidance weight {self.weight:g}: expected a number from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
            )
        if not 0 <= self.sigma_lo <= self.sigma_hi:
            raise ValueError(
                f"guidance from {self.sigma_lo:g} to {self.sigma_hi:g}: expected 0 <= low <= high, of sigma / alpha"
            )
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"guidance rescale {self.rescale:g}: expected a number from 0 to 1")

    def active(self, level: Level) -> bool:
        """Whether there is anything to guide at this level of a sampler."""
        return self.weight != 0 and bool(self.sigma_lo <= level.edm_sigma <= self.sigma_hi)

    def __call__(self, strong: Batch, weak: Batch) -> Batch:
        guided = torch.lerp(weak, strong, 1 + self.weight)
        if not self.rescale:
            return guided
        axes = tuple(range(1, strong.ndim))
        contrast = strong.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
        return guided * torch.lerp(torch.ones_like(contrast), contrast, self.rescale)


def guided(main: Denoise, guide: Denoise, guidance: Guidance) -> DenoiserWithVariance:
    """`strong` guided away from `weak`; with a smaller or less trained network, autoguidance (Karras et al. 2024)."""
    return map_x0(main, lambda x0, x, level: guidance(x0, guide(x, level)) if guidance.active(level) else x0)


def classifier_free(model: Denoiser, labels: Labels, guidance: Guidance) -> DenoiserWithVariance:
    """`model` guided away from itself without labels (Ho and Salimans 2022, eq. 6), both in one batch."""
    both = torch.cat([labels, torch.full_like(labels, model.null_label)])

    def look(x: Batch, level: Level) -> tuple[Batch, Batch | None]:
        if not guidance.active(level):
            return model.denoise_with_variance(x, level, labels)
        x0, share = model.denoise_with_variance(torch.cat([x, x]), level, both)
        return guidance(*x0.chunk(2)), share if share is None else share[: len(x)]

    return DenoiserWithVariance(look)


def clipped(denoise: Denoise) -> DenoiserWithVariance:
    """`denoise` with its pictures held in [-1, 1] (Ho et al. 2020 sample so)."""
    return map_x0(denoise, lambda x0, x, level: x0.clamp(-1, 1))
