"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), by nearest neighbours.

The support of a set is estimated as the union of balls, one around each row, with the distance to the row's k-th
nearest neighbour in the set as radius. A row on the boundary of a ball is inside (<=, eq. 1 of the former paper; the
code of the latter uses <), and equal distances are found exactly.
All four depend on n and k: compare only scores with equal n and k.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from limpid.metrics.chunks import COLUMNS, ROWS, FeatureRows, chunks
from limpid.metrics.estimate import Estimate, mean_of, proportion
from limpid.metrics.neighbours import distances, middle_of, nearest, squared_distance_rounding, squared_distances

TIE = 1e-12
"""Relative difference below which two distances count as equal: sums of squares in float64 err by about 1e-16."""

PAIR_VALUES = 1 << 22
"""Values subtracted at a time when pairs of rows are compared exactly: 32 MiB of differences in float64."""


class Prdc(NamedTuple):
    """Four means over rows, with standard errors for independent rows.

    For new samples of the fake set alone, the errors of precision and density are right; those of recall and coverage
    are too small by up to a third, because the balls of real rows overlap (measured: see the test).
    """

    precision: Estimate
    """Proportion of the fake rows that lie in the ball of a real row."""
    recall: Estimate
    """Proportion of the real rows that lie in the ball of a fake row."""
    density: Estimate
    """Mean number of real balls that a fake row lies in, divided by k: 1 for equal distributions, more if fake rows are
    concentrated where real rows are dense."""
    coverage: Estimate
    """Proportion of the real balls that contain a fake row: `expected_coverage` for equal distributions."""


def prdc(real: FeatureRows, fake: FeatureRows, k: int) -> Prdc:
    """Precision, recall, density and coverage with k neighbours: 3 are usual for the first two, 5 for the last two.

    Raises ValueError unless both sets have more than k rows.
    """
    return prdc_for(real, fake, (k,))[0]


def prdc_for(real: FeatureRows, fake: FeatureRows, neighbours: Sequence[int]) -> list[Prdc]:
    """`prdc` for several k, with one pass over the distances. Raises ValueError unless both sets have more rows."""
    for k in neighbours:
        if not 1 <= k < min(len(real), len(fake)):
            given = f"{k} neighbours among {len(real)} and {len(fake)} rows"
            raise ValueError(f"{given}: expected at least 1 neighbour, and more rows than neighbours in both sets")
    real_radii, fake_radii = radii(real, neighbours), radii(fake, neighbours)
    ball_counts = torch.zeros(len(neighbours), len(fake), dtype=torch.int64)
    recalled, covered = (torch.zeros(len(neighbours), len(real), dtype=torch.bool) for _ in range(2))
    middle = middle_of(real)
    for i, fake_chunk in zip(range(0, len(fake), ROWS), chunks(fake, ROWS), strict=True):
        for j, real_chunk in zip(range(0, len(real), COLUMNS), chunks(real, COLUMNS), strict=True):
            radii_of_pairs = [*real_radii[:, None, j : j + COLUMNS], *fake_radii[:, i : i + ROWS, None]]
            inside = within(fake_chunk, real_chunk, middle, [r.to(fake_chunk.device) for r in radii_of_pairs])
            in_real_balls, in_fake_balls = inside[: len(neighbours)], inside[len(neighbours) :]
            for n, (in_real, in_fake) in enumerate(zip(in_real_balls, in_fake_balls, strict=True)):
                ball_counts[n, i : i + ROWS] += in_real.sum(1).cpu()
                covered[n, j : j + COLUMNS] |= in_real.any(0).cpu()
                recalled[n, j : j + COLUMNS] |= in_fake.any(0).cpu()
    return [
        Prdc(proportion(n_balls > 0), proportion(recall), mean_of(n_balls.double() / k), proportion(coverage))
        for k, n_balls, recall, coverage in zip(neighbours, ball_counts, recalled, covered, strict=True)
    ]


def within(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    middle: Float[Tensor, " d"],
    radii: Sequence[Float64[Tensor, "#n #m"]],
) -> list[Bool[Tensor, "n m"]]:
    """For each of the radii, whether the distance of each pair of rows is at most the radius; equal counts as within.

    Where the rounding error of the matrix product leaves this undecided, the exact distance of the pair is computed.
    """
    centred = x - middle, y - middle
    squared, rounding = squared_distances(*centred), squared_distance_rounding(*centred)
    lower, upper = squared - rounding, squared + rounding
    squared_radii = [radius.square().to(squared) for radius in radii]
    inside = [upper <= square for square in squared_radii]
    undecided = torch.zeros_like(inside[0])
    for mask, square in zip(inside, squared_radii, strict=True):
        undecided |= mask ^ (lower <= square)
    for pairs in undecided.nonzero().split(max(PAIR_VALUES // x.shape[1], 1)):
        i, j = pairs.T
        exact = distances(x[i], y[j])
        for mask, radius in zip(inside, radii, strict=True):
            mask[i, j] = exact <= radius.expand_as(squared)[i, j] * (1 + TIE)
    return inside


def radii(rows: FeatureRows, neighbours: Sequence[int]) -> Float64[Tensor, "k n"]:
    """The distance of each row to its k-th nearest neighbour among the other rows, for each k."""
    return nearest(rows, rows, max(neighbours) + 1).distances[:, list(neighbours)].T


def expected_coverage(real: int, fake: int, k: int) -> float:
    """The expected coverage of equal distributions for these numbers of rows: about 1 - 2^-k if both are large and
    equal (Naeem et al. 2020, appendix C)."""
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (real - i) / (real + fake - i)
    return 1 - missed
