"""The nearest rows of one set to each row of another: by one matrix product, and the winners' distances exactly."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from limpid.metrics.chunks import COLUMNS, ROWS, FeatureRows, chunks

SPARE = 4
"""Candidates beyond those asked for: a product in float32 may put rows that are about equally far in a wrong order."""


class Neighbours(NamedTuple):
    """The nearest reference rows of each sample, nearest first."""

    indices: Int64[Tensor, "n k"]
    distances: Float64[Tensor, "n k"]


def nearest(samples: FeatureRows, reference: FeatureRows, k: int = 1) -> Neighbours:
    """The k nearest reference rows of each sample and their Euclidean distances: 0 for an exact copy.

    A set's own rows are their own nearest: their neighbours are the k + 1 nearest but the first. Raises ValueError for
    more neighbours than there are rows.
    """
    if not 1 <= k <= len(reference):
        raise ValueError(f"{k} nearest neighbours: expected 1 to {len(reference)}, the rows of the reference")
    middle = middle_of(reference)
    found = [_nearest(part, reference, middle, k) for part in chunks(samples, ROWS)]
    return Neighbours(torch.cat([part.indices for part in found]), torch.cat([part.distances for part in found]))


def squared_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """|x - y|^2 of every pair, up to rounding: about 1e-6 of |x|^2 + |y|^2 in float32, so both should be centred."""
    lengths_x, lengths_y = (torch.linalg.vector_norm(rows, dim=1).square() for rows in (x, y))
    return torch.addmm(lengths_y, x, y.T, alpha=-2).add_(lengths_x[:, None]).clamp_(min=0)


def squared_distance_rounding(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """How far off `squared_distances` may be: some bits of |x|^2 + |y|^2, and more of them for longer sums."""
    lengths_x, lengths_y = (torch.linalg.vector_norm(rows, dim=1).square() for rows in (x, y))
    return (lengths_x[:, None] + lengths_y).mul_(4 * x.shape[1] ** 0.5 * torch.finfo(x.dtype).eps)


def distances(x: Float[Tensor, "b d"], y: Float[Tensor, "b d"]) -> Float64[Tensor, " b"]:
    """The distance of each row of x to the same row of y, by their difference in float64: right to its rounding."""
    return torch.linalg.vector_norm(x.double() - y.double(), dim=1)


def middle_of(rows: FeatureRows) -> Float[Tensor, " d"]:
    """A point amid the rows, from which distances are taken: some of them are enough to find it."""
    return next(chunks(rows, ROWS)).mean(0)


def _nearest(x: Float[Tensor, "b d"], reference: FeatureRows, middle: Float[Tensor, " d"], k: int) -> Neighbours:
    kept = min(k + SPARE, len(reference))
    apart, candidates = x.new_empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.int64, device=x.device)
    for first, other in zip(range(0, len(reference), COLUMNS), chunks(reference, COLUMNS), strict=True):
        near = squared_distances(x - middle, other - middle).topk(min(kept, len(other)), largest=False)
        apart = torch.cat([apart, near.values], 1)
        candidates = torch.cat([candidates, near.indices + first], 1)
        apart, order = apart.topk(min(kept, apart.shape[1]), largest=False)
        candidates = candidates.gather(1, order)
    exact = torch.stack([distances(x, reference[rows.to(reference.device)].to(x)) for rows in candidates.T], 1)
    nearest_first, order = exact.sort(dim=1, stable=True)
    return Neighbours(candidates.gather(1, order)[:, :k].cpu(), nearest_first[:, :k].cpu())
