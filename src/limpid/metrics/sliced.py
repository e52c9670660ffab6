"""Sliced Wasserstein distance: how far two sets are apart along random directions, on average (Rabin et al. 2011).

Along a line the best plan pairs equal quantiles: W2^2 = int (F^-1(u) - G^-1(u))^2 du, exact for any two sizes.
"""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from limpid.metrics.chunks import ROWS, FeatureRows, chunks
from limpid.metrics.estimate import Estimate, mean_of

DIRECTIONS_PER_CHUNK = 32
"""Directions at a time."""


def sliced_wasserstein(x: FeatureRows, y: FeatureRows, generator: torch.Generator, directions: int = 500) -> Estimate:
    """The mean of W2^2 over directions drawn evenly from the sphere: |m|^2 / d for a shift by m.

    The standard error is that of the directions alone, which are the same for the same generator. Few rows make it too
    high: only equal sizes compare. Raises ValueError for fewer than two directions, or no rows.
    """
    if directions < 2 or min(len(x), len(y)) < 1:
        raise ValueError(f"{directions} directions, {len(x)} and {len(y)} rows: expected at least 2, 1 and 1")
    drawn = torch.randn(directions, x.shape[1], generator=generator, device=generator.device, dtype=torch.float64)
    axes = drawn / drawn.norm(dim=1, keepdim=True)
    width, index_x, index_y = (part.to(x.device) for part in plan(len(x), len(y)))
    values = []
    for some in axes.split(DIRECTIONS_PER_CHUNK):
        along_x, along_y = (_along(rows, some).sort(1).values for rows in (x, y))
        values.append((along_x[:, index_x] - along_y[:, index_y]).double().square() @ width)
    return mean_of(torch.cat(values).cpu())


def plan(n: int, m: int) -> tuple[Float64[Tensor, " p"], Int64[Tensor, " p"], Int64[Tensor, " p"]]:
    """The pieces of [0, 1] on which both quantile functions are constant: how wide each is, and the ranks it pairs."""
    # In units of 1 / nm, where all ends are whole numbers.
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    width = ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)
    return width, (ends - 1) // m, (ends - 1) // n


def _along(rows: FeatureRows, axes: Float64[Tensor, "k d"]) -> Float[Tensor, "k n"]:
    """Where the rows are along each axis."""
    return torch.cat([axes.to(part) @ part.T for part in chunks(rows, ROWS)], 1)
