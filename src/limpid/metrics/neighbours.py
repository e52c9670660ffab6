"""Nearest neighbours between two sets of rows: candidates by a matrix product, their distances exactly."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor

from limpid.metrics.chunks import COLUMNS, ROWS, FeatureRows, chunks

SPARE = 4
"""Candidates beyond the k requested: a float32 product may put rows at nearly equal distances in the wrong order."""


class Neighbours(NamedTuple):
    """The nearest reference rows of each sample, nearest first."""

    indices: Int64[Tensor, "n k"]
    distances: Float64[Tensor, "n k"]


def nearest(samples: FeatureRows, reference: FeatureRows, k: int = 1) -> Neighbours:
    """The k nearest reference rows of each sample and their Euclidean distances: 0 for an exact copy.

    If samples and reference are the same set, each row is its own nearest: take k + 1 and leave out the first. Raises
    ValueError for more neighbours than there are reference rows.
    """
    if not 1 <= k <= len(reference):
        raise ValueError(f"{k} nearest neighbours: expected 1 to {len(reference)}, the rows of the reference")
    middle = middle_of(reference)
    found = [_nearest(part, reference, middle, k) for part in chunks(samples, ROWS)]
    return Neighbours(torch.cat([part.indices for part in found]), torch.cat([part.distances for part in found]))


class ImageNeighbours(NamedTuple):
    """The nearest reference images of one image, nearest first."""

    indices: Int64[Tensor, " k"]
    distances: Float64[Tensor, " k"]
    mirrored: Bool[Tensor, " k"]
    """Whether it is the mirror image of the reference image that is so near."""


def nearest_images(
    image: UInt8[Tensor, "c h w"], reference: UInt8[Tensor, "n c h w"], k: int, flip: bool
) -> ImageNeighbours:
    """The k nearest reference images by pixels, with `flip` also of their mirror images; fewer if there are fewer.

    A mirror image is as far from an image as the original from the mirror image of that one: so the reference, which
    may be large, is neither mirrored nor copied.
    """
    # Rows in the order of memory are a view, in which distances are the same.
    channels_last = reference.is_contiguous(memory_format=torch.channels_last)
    order = (0, 2, 3, 1) if channels_last else (0, 1, 2, 3)
    samples = torch.stack([image, image.flip(2)] if flip else [image])
    rows, reference_rows = (images.permute(order).flatten(1) for images in (samples, reference))
    found = nearest(rows, reference_rows, min(k, len(reference)))
    distances, positions = found.distances.flatten().sort(stable=True)
    first = positions[:k]
    return ImageNeighbours(found.indices.flatten()[first], distances[:k], first >= found.indices.shape[1])


def squared_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """|x - y|^2 of every pair, with a rounding error of about 1e-6 (|x|^2 + |y|^2) in float32: centre both first."""
    lengths_x, lengths_y = (torch.linalg.vector_norm(rows, dim=1).square() for rows in (x, y))
    return torch.addmm(lengths_y, x, y.T, alpha=-2).add_(lengths_x[:, None]).clamp_(min=0)


def squared_distance_rounding(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """A bound on the rounding error of `squared_distances`: 4 sqrt(d) machine epsilons of |x|^2 + |y|^2."""
    lengths_x, lengths_y = (torch.linalg.vector_norm(rows, dim=1).square() for rows in (x, y))
    return (lengths_x[:, None] + lengths_y).mul_(4 * x.shape[1] ** 0.5 * torch.finfo(x.dtype).eps)


def distances(x: Float[Tensor, "b d"], y: Float[Tensor, "b d"]) -> Float64[Tensor, " b"]:
    """The distance of each row of x to the same row of y, from their difference in float64."""
    return torch.linalg.vector_norm(x.double() - y.double(), dim=1)


def middle_of(rows: FeatureRows) -> Float[Tensor, " d"]:
    """The mean of the first rows, for centring: it only has to lie near the rows, so a chunk of them is enough."""
    return next(chunks(rows, ROWS)).mean(0)


def _nearest(x: Float[Tensor, "b d"], reference: FeatureRows, middle: Float[Tensor, " d"], k: int) -> Neighbours:
    count = min(k + SPARE, len(reference))
    squared, candidates = x.new_empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.int64, device=x.device)
    for first, chunk in zip(range(0, len(reference), COLUMNS), chunks(reference, COLUMNS), strict=True):
        near = squared_distances(x - middle, chunk - middle).topk(min(count, len(chunk)), largest=False)
        squared = torch.cat([squared, near.values], 1)
        candidates = torch.cat([candidates, near.indices + first], 1)
        squared, order = squared.topk(min(count, squared.shape[1]), largest=False)
        candidates = candidates.gather(1, order)
    exact = torch.stack([distances(x, reference[rows.to(reference.device)].to(x)) for rows in candidates.T], 1)
    nearest_first, order = exact.sort(dim=1, stable=True)
    return Neighbours(candidates.gather(1, order)[:, :k].cpu(), nearest_first[:, :k].cpu())
