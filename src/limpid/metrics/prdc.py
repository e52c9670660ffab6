"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), by nearest neighbours.

Around every row of a set lies a ball that reaches to its k-th neighbour there; together they are where the set is.
A row on the edge of a ball is in it (<=, eq. 1 of the former; the latter's own code takes <), and equal distances are
found exactly.
All four depend on n and k: only scores of equal ones compare.
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
"""Distances that differ by less of themselves are equal: sums of squares in float64 are right to some 1e-16."""

PAIR_VALUES = 1 << 22
"""Numbers of rows that are subtracted at a time: 32 MiB of differences."""


class Prdc(NamedTuple):
    """Four means over rows, with the standard errors of independent rows.

    Over draws of the fake set alone those of precision and density are right; those of recall and coverage are too
    small by up to a third, as the balls of real rows overlap (measured: see the test).
    """

    precision: Estimate
    """Of the fake rows that are in a real ball."""
    recall: Estimate
    """Of the real rows that are in a fake ball."""
    density: Estimate
    """In how many real balls a fake row is, over k: 1 for equal distributions, and more where fakes crowd."""
    coverage: Estimate
    """Of the real balls that hold a fake row: `expected_coverage` for equal distributions."""


def prdc(real: FeatureRows, fake: FeatureRows, k: int) -> Prdc:
    """How the fake rows lie among the real ones: 3 neighbours are customary for the first two, 5 for the last.

    Raises ValueError unless both sets have more than k rows.
    """
    return prdc_for(real, fake, (k,))[0]


def prdc_for(real: FeatureRows, fake: FeatureRows, neighbours: Sequence[int]) -> list[Prdc]:
    """`prdc` for several k, by one pass over the distances. Raises ValueError unless both sets have more rows."""
    for k in neighbours:
        if not 1 <= k < min(len(real), len(fake)):
            given = f"{k} neighbours among {len(real)} and {len(fake)} rows"
            raise ValueError(f"{given}: expected at least 1, and more rows")
    real_radii, fake_radii = radii(real, neighbours), radii(fake, neighbours)
    balls = torch.zeros(len(neighbours), len(fake), dtype=torch.int64)
    recalled, covered = (torch.zeros(len(neighbours), len(real), dtype=torch.bool) for _ in range(2))
    middle = middle_of(real)
    for i, part in zip(range(0, len(fake), ROWS), chunks(fake, ROWS), strict=True):
        for j, other in zip(range(0, len(real), COLUMNS), chunks(real, COLUMNS), strict=True):
            reach = [*real_radii[:, None, j : j + COLUMNS], *fake_radii[:, i : i + ROWS, None]]
            hits = within(part, other, middle, [one.to(part.device) for one in reach])
            for n, (in_real, in_fake) in enumerate(zip(hits[: len(balls)], hits[len(balls) :], strict=True)):
                balls[n, i : i + ROWS] += in_real.sum(1).cpu()
                covered[n, j : j + COLUMNS] |= in_real.any(0).cpu()
                recalled[n, j : j + COLUMNS] |= in_fake.any(0).cpu()
    return [
        Prdc(proportion(inside > 0), proportion(back), mean_of(inside.double() / k), proportion(held))
        for k, inside, back, held in zip(neighbours, balls, recalled, covered, strict=True)
    ]


def within(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    middle: Float[Tensor, " d"],
    reach: Sequence[Float64[Tensor, "#n #m"]],
) -> list[Bool[Tensor, "n m"]]:
    """For each of some radii whether the distance of each pair is at most that: equal distances are within.

    Pairs that rounding of the product could put on either side of one of the radii are decided by their difference.
    """
    centred = x - middle, y - middle
    apart, slack = squared_distances(*centred), squared_distance_rounding(*centred)
    least, most = apart - slack, apart + slack
    squares = [radius.square().to(apart) for radius in reach]
    hits = [most <= square for square in squares]
    unsure = torch.zeros_like(hits[0])
    for hit, square in zip(hits, squares, strict=True):
        unsure |= hit ^ (least <= square)
    for pairs in unsure.nonzero().split(max(PAIR_VALUES // x.shape[1], 1)):
        i, j = pairs.T
        exact = distances(x[i], y[j])
        for hit, radius in zip(hits, reach, strict=True):
            hit[i, j] = exact <= radius.expand_as(apart)[i, j] * (1 + TIE)
    return hits


def radii(rows: FeatureRows, neighbours: Sequence[int]) -> Float64[Tensor, "k n"]:
    """The distance of each row to its k-th neighbour among the others, for each k."""
    return nearest(rows, rows, max(neighbours) + 1).distances[:, list(neighbours)].T


def expected_coverage(real: int, fake: int, k: int) -> float:
    """The coverage of equal distributions, by how many rows there are: near 1 - 2^-k for as many fakes (appendix C)."""
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (real - i) / (real + fake - i)
    return 1 - missed
