"""Whether generated images are copies of training images, with the closest pairs as a figure."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from limpid.metrics.chunks import FeatureRows
from limpid.metrics.copies import COPY_NEIGHBOURS, copy_rate, distance_ratio, threshold
from limpid.metrics.estimate import Estimate
from limpid.metrics.neighbours import nearest
from limpid.runtime.rng import random_subset
from limpid.viz.image_grid import save_png, strip

FALSE_ALARM_RATE = 0.05
"""The fraction of held-out images below the threshold: more than the 3% near-duplicates of CIFAR-10."""
MAX_HELD_OUT = 2000
"""Limit of the held-out images from which the threshold is computed."""


@dataclass(frozen=True)
class Memorization:
    """The distances of generated images to training images, relative to those of held-out images."""

    rate: Estimate | None
    """The fraction of generated images below the distance of the nearest 5% of held-out ones: 5% if nothing is copied.

    None without held-out images, which define the threshold."""
    distance_ratio: Float64[Tensor, " n"]
    """For each generated image: 0 is an exact copy, 1 is as far from its nearest neighbour as from the others."""
    nearest: Int64[Tensor, " n"]
    """The index of the nearest training image."""

    def save_figure(
        self, generated: UInt8[Tensor, "n c h w"], training: UInt8[Tensor, "r c h w"], path: Path, pairs: int = 12
    ) -> Path:
        """Write the generated images nearest to a training image, above that image, nearest first."""
        order = self.distance_ratio.argsort()[:pairs]
        rows = torch.stack([generated[order], training[self.nearest[order]]])
        titles = [f"{ratio:.2f}" for ratio in self.distance_ratio[order].tolist()]
        return save_png(strip(rows, ["generated", "nearest real"], titles), path)


def memorization(generated: FeatureRows, held_out: FeatureRows | None, training: FeatureRows) -> Memorization:
    """Compare rows of pixels or of features. Raises ValueError for too few held-out rows for a threshold."""
    k = min(COPY_NEIGHBOURS, len(training))
    neighbours = nearest(generated, training, k)
    ratio, indices = distance_ratio(neighbours.distances), neighbours.indices[:, 0]
    if held_out is None:
        return Memorization(None, ratio, indices)
    subset = held_out[random_subset(MAX_HELD_OUT, len(held_out))]
    limit = threshold(distance_ratio(nearest(subset, training, k).distances), FALSE_ALARM_RATE)
    return Memorization(copy_rate(ratio, limit), ratio, indices)
