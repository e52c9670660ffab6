"""The kernel inception distance: the squared maximum mean discrepancy under k(x, y) = (x.y / d + 1)^3.

The estimate is unbiased for every n, so scores of different n can be compared; for equal distributions it is as often
negative as positive (Binkowski et al. 2018, section 3).
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from limpid.metrics.chunks import COLUMNS, ROWS, FeatureRows, chunks
from limpid.metrics.estimate import Estimate


class Kid(NamedTuple):
    """The estimates of random subsets, summarized as in the paper."""

    value: float
    """Mean over the subsets."""
    spread: float
    """Standard deviation over the subsets: what most programs print after the +-."""
    error: float
    """Standard error of the mean, which accounts for rows that subsets share; rather too large than too small."""


def kid(x: FeatureRows, y: FeatureRows, generator: torch.Generator, subsets: int = 100, size: int = 1000) -> Kid:
    """The mean over subsets of `size` rows of each set, sampled without replacement: an estimate of `mmd2`.

    Raises ValueError unless both sets have more than `size` rows, and there are at least two subsets of two rows.
    """
    fewest = min(len(x), len(y))
    if not 2 <= size < fewest or subsets < 2:
        raise ValueError(f"{subsets} subsets of {size}: expected at least 2 of 2 or more, and fewer than {fewest} rows")
    values = [mmd2(_subset(x, size, generator), _subset(y, size, generator)).value for _ in range(subsets)]
    spread = torch.tensor(values, dtype=torch.float64).std().item()
    # Subsets scatter by `spread` around the score of all rows, which itself is as uncertain as fewest / size subsets.
    error = spread * math.sqrt(1 / subsets + size / (fewest - size))
    return Kid(sum(values) / subsets, spread, error)


def mmd2(x: FeatureRows, y: FeatureRows) -> Estimate:
    """The unbiased squared discrepancy of all rows, and its standard error over the rows of both sets.

    The error is the jackknife's to first order, from each row's mean kernel with its own set and with the other. For
    equal distributions it is too large by a factor of about sqrt(2). Raises ValueError for fewer than two rows.
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"{n} and {m} rows of features: expected at least two of each")
    across_x, across_y = _sums(x, y)
    within_x, within_y = ((_sums(rows, rows)[0] - _own(rows)) / (len(rows) - 1) for rows in (x, y))
    across_x, across_y = across_x / m, across_y / n
    value = within_x.mean() + within_y.mean() - 2 * across_x.mean()
    variance = 4 * ((within_x - across_x).var() / n + (within_y - across_y).var() / m)
    return Estimate(value.item(), variance.sqrt().item())


def kernel(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """(x.y / d + 1)^3 of every pair."""
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def _sums(x: FeatureRows, y: FeatureRows) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " m"]]:
    """The kernel of each row summed over the rows of the other set, for the rows of both sets."""
    rows, columns = torch.zeros(len(x), dtype=torch.float64), torch.zeros(len(y), dtype=torch.float64)
    for i, part in zip(range(0, len(x), ROWS), chunks(x, ROWS), strict=True):
        for j, other in zip(range(0, len(y), COLUMNS), chunks(y, COLUMNS), strict=True):
            block = kernel(part, other)
            rows[i : i + ROWS] += block.sum(1, dtype=torch.float64).cpu()
            columns[j : j + COLUMNS] += block.sum(0, dtype=torch.float64).cpu()
    return rows, columns


def _own(rows: FeatureRows) -> Float64[Tensor, " n"]:
    """The kernel of each row with itself."""
    return torch.cat([(part.double().square().mean(1) + 1).pow(3) for part in chunks(rows, ROWS)]).cpu()


def _subset(rows: FeatureRows, size: int, generator: torch.Generator) -> FeatureRows:
    chosen = torch.randperm(len(rows), generator=generator, device=generator.device)[:size]
    return rows[chosen.to(rows.device)]
