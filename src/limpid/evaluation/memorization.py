"""Whether drawn pictures are copies of training pictures, with the closest pairs to look at."""

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
"""The share of held-out pictures that the threshold takes for copies: above the 3% near-duplicates of CIFAR-10."""
HELD_OUT = 2000
"""How many held-out pictures the threshold is set by."""


@dataclass(frozen=True)
class Memorization:
    """How near drawn pictures are to training ones, beside how near pictures are that nobody trained on."""

    rate: Estimate | None
    """The share of drawn pictures at least as near as the nearest 5% of held-out ones: 5% if nothing is copied.

    None without held-out ones: nobody can say then how near is near."""
    near: Float64[Tensor, " n"]
    """Of each drawn picture: 0 is an exact copy, 1 lies in the midst of its surroundings."""
    nearest: Int64[Tensor, " n"]
    """The training picture nearest to it."""

    def picture(
        self, drawn: UInt8[Tensor, "n c h w"], training: UInt8[Tensor, "r c h w"], path: Path, pairs: int = 12
    ) -> Path:
        """The drawn pictures that are nearest to a training picture, over it, nearest first."""
        order = self.near.argsort()[:pairs]
        rows = torch.stack([drawn[order], training[self.nearest[order]]])
        return save_png(
            strip(rows, ["drawn", "nearest real"], [f"{value:.2f}" for value in self.near[order].tolist()]), path
        )


def memorization(drawn: FeatureRows, held_out: FeatureRows | None, training: FeatureRows) -> Memorization:
    """Compare rows of pixels, or of features. Raises ValueError if there are too few held-out rows for a threshold."""
    k = min(COPY_NEIGHBOURS, len(training))
    found = nearest(drawn, training, k)
    near = distance_ratio(found.distances)
    if held_out is None:
        return Memorization(None, near, found.indices[:, 0])
    limit = threshold(
        distance_ratio(nearest(held_out[random_subset(HELD_OUT, len(held_out))], training, k).distances),
        FALSE_ALARM_RATE,
    )
    return Memorization(copy_rate(near, limit), near, found.indices[:, 0])
