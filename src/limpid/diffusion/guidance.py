"""Wrappers of the denoiser that a sampler is given: guidance away from a weaker denoiser, and clipping to [-1, 1]."""

import math
from dataclasses import dataclass

import torch

from limpid.diffusion.denoiser import Denoise, Denoiser, DenoiserWithVariance, Labels, map_x0
from limpid.diffusion.level import Batch, Level

MAX_SCALE = 1000.0
"""Far above any useful scale (published ones end near 30), and far below what overflows in a sampler."""


@dataclass(frozen=True)
class Guidance:
    """Extrapolation from the guide's x0 past that of the main denoiser: x0 = guide + scale (main - guide)."""

    scale: float = 1.0
    """1 is no guidance, as in EDM2's `guidance` and diffusers' `guidance_scale`; Ho and Salimans (2022) write w + 1."""
    sigma_lo: float = 0.0
    """Guide only where sigma / alpha is at least this ..."""
    sigma_hi: float = math.inf
    """... and at most this (Kynkaanniemi et al. 2024); at other levels the guide is not evaluated."""
    rescale: float = 0.0
    """0 to 1: how far the guided x0 is rescaled to the standard deviation of the main one (Lin et al. 2023, eq. 16)."""

    def __post_init__(self) -> None:
        if not abs(self.scale) <= MAX_SCALE:
            raise ValueError(f"guidance scale {self.scale:g}: expected a number from {-MAX_SCALE:g} to {MAX_SCALE:g}")
        if not 0 <= self.sigma_lo <= self.sigma_hi:
            raise ValueError(
                f"guidance sigma_lo {self.sigma_lo:g}, sigma_hi {self.sigma_hi:g}: expected 0 <= sigma_lo <= sigma_hi"
            )
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"guidance rescale {self.rescale:g}: expected a number from 0 to 1")

    @property
    def enabled(self) -> bool:
        """Whether the scale changes anything."""
        return self.scale != 1

    def active(self, level: Level) -> bool:
        """Whether samples are guided at this level, a single one for the batch."""
        return self.enabled and bool(self.sigma_lo <= level.edm_sigma <= self.sigma_hi)

    def __call__(self, main: Batch, guide: Batch) -> Batch:
        """The guided x0 of a batch, from the predictions of the main denoiser and of the guide."""
        guided = torch.lerp(guide, main, self.scale)
        if not self.rescale:
            return guided
        axes = tuple(range(1, main.ndim))
        ratio = main.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
        return guided * torch.lerp(torch.ones_like(ratio), ratio, self.rescale)


def guide_away_from(main: Denoise, guide: Denoise, guidance: Guidance) -> DenoiserWithVariance:
    """`main` guided away from `guide`: autoguidance, where the guide is a weaker network (Karras et al. 2024)."""
    return map_x0(main, lambda x0, x, level: guidance(x0, guide(x, level)) if guidance.active(level) else x0)


def classifier_free(model: Denoiser, labels: Labels, guidance: Guidance) -> DenoiserWithVariance:
    """`model` guided away from itself without labels (Ho and Salimans 2022, eq. 6), both evaluated in one batch."""
    both = torch.cat([labels, torch.full_like(labels, model.null_label)])

    def denoise(x: Batch, level: Level) -> tuple[Batch, Batch | None]:
        if not guidance.active(level):
            return model.denoise_with_variance(x, level, labels)
        x0, variance = model.denoise_with_variance(torch.cat([x, x]), level, both)
        n = x.shape[0]  # `len` and `chunk` would fix the size of the batch where this is exported
        return guidance(x0[:n], x0[n:]), None if variance is None else variance[:n]

    return DenoiserWithVariance(denoise)


def clip_x0(denoise: Denoise) -> DenoiserWithVariance:
    """`denoise` with x0 clipped to [-1, 1] (as Ho et al. 2020 sample)."""
    return map_x0(denoise, lambda x0, x, level: x0.clamp(-1, 1))
