"""Sliced Wasserstein distance: the mean of the one-dimensional distances along random directions (Rabin et al. 2011).

In one dimension the optimal transport plan pairs equal quantiles: W2^2 = int (F^-1(u) - G^-1(u))^2 du, computed
exactly for any two sizes.
"""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from limpid.metrics.chunks import ROWS, FeatureRows, chunks
from limpid.metrics.estimate import Estimate, mean_of

DIRECTIONS_PER_CHUNK = 32
"""Directions projected on at a time, to bound memory."""


def sliced_wasserstein(x: FeatureRows, y: FeatureRows, generator: torch.Generator, directions: int = 500) -> Estimate:
    """The mean of W2^2 over directions uniform on the sphere: |m|^2 / d if the sets differ by a shift m.

    The standard error is over the directions alone, which are equal for equal generators. The distance is biased
    upwards for few rows: compare only sets of equal sizes. Raises ValueError for fewer than two directions, or no rows.
    """
    if directions < 2 or min(len(x), len(y)) < 1:
        raise ValueError(f"{directions} directions, {len(x)} and {len(y)} rows: expected at least 2, 1 and 1")
    normal = torch.randn(directions, x.shape[1], generator=generator, device=generator.device, dtype=torch.float64)
    axes = normal / normal.norm(dim=1, keepdim=True)
    width, index_x, index_y = (part.to(x.device) for part in plan(len(x), len(y)))
    values = []
    for axes_chunk in axes.split(DIRECTIONS_PER_CHUNK):
        sorted_x, sorted_y = (_project(rows, axes_chunk).sort(1).values for rows in (x, y))
        values.append((sorted_x[:, index_x] - sorted_y[:, index_y]).double().square() @ width)
    return mean_of(torch.cat(values).cpu())


def plan(n: int, m: int) -> tuple[Float64[Tensor, " p"], Int64[Tensor, " p"], Int64[Tensor, " p"]]:
    """The pieces of [0, 1] on which both quantile functions are constant: the width of each, and the ranks it pairs."""
    # In units of 1 / (n m), in which all ends are integers.
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    width = ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)
    return width, (ends - 1) // m, (ends - 1) // n


def _project(rows: FeatureRows, axes: Float64[Tensor, "k d"]) -> Float[Tensor, "k n"]:
    """The projection of each row on each axis."""
    return torch.cat([axes.to(part) @ part.T for part in chunks(rows, ROWS)], 1)
