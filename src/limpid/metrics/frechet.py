"""The Frechet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), squared as is usual.

Heusel et al. (2017), eq. 6; called FID where the features are those of Inception. Scores of n images are too high by
about c / n (Chong and Forsyth 2020): only equal n compare.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor

from limpid.metrics.estimate import Estimate, jackknife
from limpid.metrics.moments import Moments, Statistics, all_of, without_each

Distance: TypeAlias = Callable[[Statistics], float]


def frechet(a: Statistics, b: Statistics) -> float:
    """The Frechet distance of two sets by their means and covariances, which may be of any rank.

    Never negative; right to about 1e-13 of the traces at full rank, and to 1e-7 of the largest eigenvalue where there
    are fewer samples than features. Of rows that are all alike the covariance is taken for zero. Raises ValueError for
    features of different widths, and for a covariance with a negative eigenvalue that is no rounding.
    """
    return distance_to(b)(a)


def distance_to(reference: Statistics) -> Distance:
    """The Frechet distance to one set, whose root is taken here, once: half the work if it is asked for many others."""
    root, spread = _root(reference), reference.covariance.trace()
    largest = root.square().sum().item()

    def distance(other: Statistics) -> float:
        if len(other.mean) != len(reference.mean):
            given = f"{len(other.mean)} and {len(reference.mean)}"
            raise ValueError(f"features of {given} numbers have no distance: expected the same network's")
        products = torch.linalg.eigvalsh(root.T @ other.covariance @ root)
        check_definite(products, other.rounding * largest)
        across = products.clamp(min=0).sqrt().sum() * (not other.alike)
        apart = (other.mean - reference.mean).square().sum() + other.covariance.trace() + spread - 2 * across
        return max(apart.item(), 0.0)

    return distance


def frechet_estimate(blocks: Sequence[Moments], reference: Statistics) -> Estimate:
    """The Frechet distance of all blocks together to a reference, with its standard error over the blocks.

    The error is the delete-a-block jackknife's, and of the sample alone: the reference is taken as it is. It holds for
    blocks of independent samples and equal size.
    """
    distance = distance_to(reference)
    parts = torch.tensor([distance(rest.statistics) for rest in without_each(blocks)], dtype=torch.float64)
    return Estimate(distance(all_of(blocks).statistics), jackknife(parts), len(blocks) - 1)


class Extrapolated(NamedTuple):
    """A straight line through Frechet distances over 1 / n."""

    value: float
    """What it comes to for infinitely many samples."""
    slope: float
    """How much too high a distance of n samples is, times n."""
    fit: float
    """The standard error of the value as the line's residuals tell: how straight it is, not how far samples scatter."""
    points: list[tuple[float, float]]
    """1 / n and the mean distance of that many samples."""


def frechet_infinity(blocks: Sequence[Moments], reference: Statistics) -> Extrapolated:
    """The Frechet distance to a reference extrapolated to infinitely many samples (Chong and Forsyth 2020).

    Where the paper draws a subset for each n, here every n that blocks make up is measured on all blocks, in groups,
    and averaged: chance shifts the points of the line alike and does not tilt it. So the value scatters little more
    than `scored` does. The line is straight where a block has many more samples than features: with twice as many the
    value is too low by about a sixth of what it corrects, with five times by a twentieth. Raises ValueError for blocks
    of no more samples than features, and for a count of blocks with fewer than three divisors.
    """
    count = len(blocks)
    sizes = [size for size in range(1, count + 1) if count % size == 0]
    if len(sizes) < 3:
        raise ValueError(
            f"{count} blocks make groups of {sizes} blocks: expected three sizes, as of 4, 6, 10, 12 or 20"
        )
    smallest, d = min(block.n for block in blocks), len(reference.mean)
    if smallest <= d:
        raise ValueError(f"blocks of {smallest} samples do not tell of infinitely many: expected more than {d} in each")
    distance = distance_to(reference)
    points = []
    for size in sizes:
        groups = [all_of(blocks[first : first + size]) for first in range(0, count, size)]
        distances = [distance(group.statistics) for group in groups]
        points.append((sum(1 / group.n for group in groups) / len(groups), sum(distances) / len(groups)))
    return line(points)


def line(points: Sequence[tuple[float, float]]) -> Extrapolated:
    """The line of least squares through points (1 / n, distance), and where it meets 1 / n = 0."""
    x, y = torch.tensor(points, dtype=torch.float64).T
    centred = x - x.mean()
    slope = (centred * y).sum() / centred.square().sum()
    value = y.mean() - slope * x.mean()
    variance = (y - value - slope * x).square().sum() / (len(x) - 2)
    fit = (variance * (1 / len(x) + x.mean().square() / centred.square().sum())).sqrt()
    return Extrapolated(value.item(), slope.item(), fit.item(), list(points))


def _root(statistics: Statistics) -> Float64[Tensor, "d r"]:
    """A factor R with R R^T the covariance, as wide as its rank: what rounding adds to a lower rank would sum up."""
    values, vectors = torch.linalg.eigh(statistics.covariance)
    check_definite(values, statistics.rounding)
    eps = torch.finfo(values.dtype).eps
    kept = values > max(len(values) * eps * values.max().item(), statistics.rounding)
    return vectors[:, kept] * values[kept].sqrt()


def check_definite(values: Float64[Tensor, " d"], rounding: float) -> None:
    """Raises ValueError if one of these eigenvalues is further below zero than by `rounding`, or by that of float32."""
    if len(values) and values.min() < -max(rounding, 1e-4 * values.abs().max().item()):
        given = f"eigenvalues from {values.min():.3g} to {values.max():.3g}"
        raise ValueError(f"{given}: a covariance has no negative ones")
