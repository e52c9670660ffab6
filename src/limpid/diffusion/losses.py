"""The training loss: the squared error of the network in its target's own space, times a weight of the level."""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.denoiser import Denoiser, Labels
from limpid.diffusion.level import Batch, Level, PerSample, mix
from limpid.diffusion.targets import Target, target


@dataclass(frozen=True)
class Flat:
    """Every level counts the same: L_simple (Ho et al. 2020, eq. 14), EDM's weight for its own F, flow matching's."""

    def __call__(self, kind: Target, level: Level) -> Float[Tensor, "*b"]:
        return torch.ones_like(level.alpha)


Weight: TypeAlias = Flat


def denoising_loss(
    model: Denoiser, x0: Batch, eps: Batch, level: Level, labels: Labels | None = None, weight: Weight = Flat()
) -> PerSample:
    """The weighted mean squared error of each sample, in float32; `level` holds one level per sample."""
    error = model.predict(mix(x0, eps, level), level, labels) - target(model.target, x0, eps, level)
    return error.square().flatten(1).mean(1) * weight(model.target, level).float()
