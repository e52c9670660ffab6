"""The weighted mean over a step of the polynomial through several values, as multistep solvers need it.

Time goes from 0 to 1 during the step, with weight exp(rate * time); the values may lie before, in or after the step. A
rate of 0 gives the weights of Adams and Bashforth, a rate proportional to the step in log-SNR those of DEIS and
DPM-Solver++.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Batch


def polynomial_mean(values: Sequence[Batch], times: Sequence[float], rate: float) -> Batch:
    """The weighted mean over [0, 1] of the polynomial through `values` at `times`."""
    total = values[0]
    for weight, value in zip(lagrange_means(times, rate)[1:], values[1:], strict=True):
        total = total + weight * (value - values[0])
    return total


def lagrange_means(times: Sequence[float], rate: float) -> list[float]:
    """The mean of each Lagrange polynomial of `times`: weights that sum to 1, exact for powers below their number."""
    n = len(times)
    powers = torch.tensor(times, dtype=torch.float64) ** torch.arange(n)[:, None]
    return torch.linalg.solve(powers, exponential_moments(rate, n)).tolist()


def exponential_moments(rate: float, n: int) -> Float[Tensor, " n"]:
    """The means of 1, t ... t^(n - 1) over [0, 1] with weight exp(rate * t): (k + 1)! phi_(k+1) / phi_1."""
    t, dt = _gauss()
    density = dt * (rate * t - max(rate, 0.0)).exp()
    return (t ** torch.arange(n)[:, None]) @ density / density.sum()


@lru_cache(maxsize=1)
def _gauss() -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Gauss-Legendre points and weights on [0, 1]: exact up to rounding for every rate within +-100."""
    points, weights = np.polynomial.legendre.leggauss(64)
    return torch.from_numpy(points + 1) / 2, torch.from_numpy(weights) / 2
