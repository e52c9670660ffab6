"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), by nearest neighbours.

Around every row of a set lies a ball that reaches to its k-th neighbour there; together they are where the set is.
All four depend on n and k: only scores of equal ones compare.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from limpid.metrics.chunks import COLUMNS, ROWS, Rows, chunks
from limpid.metrics.interval import Estimate, mean_of, share_of
from limpid.metrics.neighbours import middle_of, nearest, squared_distances


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


def prdc(real: Rows, fake: Rows, k: int) -> Prdc:
    """How the fake rows lie among the real ones: 3 neighbours are customary for the first two, 5 for the last.

    Raises ValueError unless both sets have more than k rows.
    """
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"{k} neighbours among {len(real)} and {len(fake)} rows: expected at least 1, and more rows")
    real_radii, fake_radii = radii(real, k).square(), radii(fake, k).square()
    balls = torch.zeros(len(fake), dtype=torch.int64)
    recalled, covered = torch.zeros(len(real), dtype=torch.bool), torch.zeros(len(real), dtype=torch.bool)
    middle = middle_of(real)
    for i, part in zip(range(0, len(fake), ROWS), chunks(fake, ROWS), strict=True):
        for j, other in zip(range(0, len(real), COLUMNS), chunks(real, COLUMNS), strict=True):
            apart = squared_distances(part - middle, other - middle)
            in_real = apart <= real_radii[j : j + COLUMNS].to(apart)
            in_fake = apart <= fake_radii[i : i + ROWS, None].to(apart)
            balls[i : i + ROWS] += in_real.sum(1).cpu()
            covered[j : j + COLUMNS] |= in_real.any(0).cpu()
            recalled[j : j + COLUMNS] |= in_fake.any(0).cpu()
    return Prdc(share_of(balls > 0), share_of(recalled), mean_of(balls.double() / k), share_of(covered))


def radii(rows: Rows, k: int) -> Float64[Tensor, " n"]:
    """The distance of each row to its k-th neighbour among the others."""
    return nearest(rows, rows, k + 1).distances[:, k]


def expected_coverage(real: int, fake: int, k: int) -> float:
    """The coverage of equal distributions, by how many rows there are: near 1 - 2^-k for as many fakes (appendix C)."""
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (real - i) / (real + fake - i)
    return 1 - missed
