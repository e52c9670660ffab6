"""The squared Frechet distance of two Gaussians, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2).

Heusel et al. (2017), eq. 6; called FID for features of the Inception network. Scores of n images are biased upwards by
about c / n (Chong and Forsyth 2020): compare only scores with equal n.
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
    """The Frechet distance of two sets from their means and covariances, which may be of any rank.

    Never negative; its error is about 1e-13 of the traces at full rank, and 1e-7 of the largest eigenvalue for fewer
    samples than features. The covariance of equal rows is taken as zero. Raises ValueError for different numbers of
    features, and for a covariance with an eigenvalue that is negative by more than rounding.
    """
    return distance_to(b)(a)


def distance_to(reference: Statistics) -> Distance:
    """The Frechet distance to a fixed set, as a function. The matrix square root of its covariance is computed only
    once, which saves half of the time for many distances."""
    root, trace = _root(reference), reference.covariance.trace()
    largest = root.square().sum().item()

    def distance(other: Statistics) -> float:
        if len(other.mean) != len(reference.mean):
            given = f"features of {len(other.mean)} and of {len(reference.mean)} values"
            raise ValueError(f"{given} cannot be compared: expected features of one network")
        eigenvalues = torch.linalg.eigvalsh(root.T @ other.covariance @ root)
        check_definite(eigenvalues, other.rounding * largest)
        cross = eigenvalues.clamp(min=0).sqrt().sum() * (not other.alike)
        squared = (other.mean - reference.mean).square().sum() + other.covariance.trace() + trace - 2 * cross
        return max(squared.item(), 0.0)

    return distance


def frechet_estimate(blocks: Sequence[Moments], reference: Statistics) -> Estimate:
    """The Frechet distance of all blocks together to a reference, with its standard error over the blocks.

    The error is that of the delete-a-block jackknife, for independent samples in blocks of equal size. It is the error
    of the samples alone: the reference is taken as exact.
    """
    distance = distance_to(reference)
    parts = torch.tensor([distance(rest.statistics) for rest in without_each(blocks)], dtype=torch.float64)
    return Estimate(distance(all_of(blocks).statistics), jackknife(parts), len(blocks) - 1)


class Extrapolated(NamedTuple):
    """A straight line fitted to Frechet distances as a function of 1 / n."""

    value: float
    """The intercept: the distance for infinitely many samples."""
    slope: float
    """The bias of a distance of n samples, times n."""
    fit: float
    """The standard error of the intercept from the residuals of the fit: it shows how straight the line is, not the
    variance over samples."""
    points: list[tuple[float, float]]
    """1 / n, and the mean distance of n samples."""


def frechet_infinity(blocks: Sequence[Moments], reference: Statistics) -> Extrapolated:
    """The Frechet distance to a reference extrapolated to infinitely many samples (Chong and Forsyth 2020).

    The paper samples one subset for each n. This function takes every n that groups of blocks can have, and averages
    the distances of all groups of that size: the noise of the samples then shifts all points equally and does not tilt
    the line, so the variance of the value is little larger than that of `frechet_estimate`. The line is straight if a
    block has many more samples than features: with twice as many, the value is too low by about a sixth of the
    correction, with five times as many by a twentieth. Raises ValueError for blocks with no more samples than features,
    and for a number of blocks with fewer than three divisors.
    """
    count = len(blocks)
    sizes = [size for size in range(1, count + 1) if count % size == 0]
    if len(sizes) < 3:
        raise ValueError(
            f"{count} blocks make groups of {sizes} blocks: expected three sizes, as with 4, 6, 10, 12 or 20 blocks"
        )
    smallest, d = min(block.n for block in blocks), len(reference.mean)
    if smallest <= d:
        raise ValueError(f"blocks of {smallest} samples are too small to extrapolate: expected more than {d} in each")
    distance = distance_to(reference)
    points = []
    for size in sizes:
        groups = [all_of(blocks[first : first + size]) for first in range(0, count, size)]
        distances = [distance(group.statistics) for group in groups]
        points.append((sum(1 / group.n for group in groups) / len(groups), sum(distances) / len(groups)))
    return line(points)


def line(points: Sequence[tuple[float, float]]) -> Extrapolated:
    """The least-squares line through points (1 / n, distance), and its value at 1 / n = 0."""
    x, y = torch.tensor(points, dtype=torch.float64).T
    centred = x - x.mean()
    slope = (centred * y).sum() / centred.square().sum()
    value = y.mean() - slope * x.mean()
    variance = (y - value - slope * x).square().sum() / (len(x) - 2)
    fit = (variance * (1 / len(x) + x.mean().square() / centred.square().sum())).sqrt()
    return Extrapolated(value.item(), slope.item(), fit.item(), list(points))


def _root(statistics: Statistics) -> Float64[Tensor, "d r"]:
    """A factor R with R R^T equal to the covariance and as many columns as its rank.

    Eigenvalues that are zero up to rounding are omitted, because their square roots would add up.
    """
    values, vectors = torch.linalg.eigh(statistics.covariance)
    check_definite(values, statistics.rounding)
    eps = torch.finfo(values.dtype).eps
    nonzero = values > max(len(values) * eps * values.max().item(), statistics.rounding)
    return vectors[:, nonzero] * values[nonzero].sqrt()


def check_definite(values: Float64[Tensor, " d"], rounding: float) -> None:
    """Raise ValueError if an eigenvalue is below zero by more than `rounding` and by more than float32 can explain."""
    if len(values) and values.min() < -max(rounding, 1e-4 * values.abs().max().item()):
        given = f"eigenvalues from {values.min():.3g} to {values.max():.3g}"
        raise ValueError(f"{given}: a covariance has no negative eigenvalues")
