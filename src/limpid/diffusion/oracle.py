"""Exact denoisers of known laws: what a perfect network would say, so that everything above it can be proven."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.level import Batch, Level, pad


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Data x0 ~ N(mean, std^2), each coordinate by itself; `mean` and `std` broadcast over one sample."""

    mean: Float[Tensor, "*d"]
    std: Float[Tensor, "*d"]

    def __call__(self, x: Batch, level: Level) -> Batch:
        """E[x0 | x] by Bayes' rule for two Gaussians."""
        alpha, sigma = pad(level.alpha, x), pad(level.sigma, x)
        signal = alpha * self.std.square()
        return self.mean + signal / (alpha * signal + sigma.square()) * (x - alpha * self.mean)

    def carried(self, x: Batch, here: Level, there: Level) -> Batch:
        """Where the probability-flow ODE takes `x` from one level to another: the same quantile of both marginals."""

        def spread(level: Level) -> Tensor:
            return torch.hypot(level.alpha * self.std, level.sigma)

        return there.alpha * self.mean + spread(there) / spread(here) * (x - here.alpha * self.mean)


@dataclass(frozen=True, eq=False)
class Points:
    """Data that are `points`, all as likely: what a network that learnt its training set by heart says."""

    points: Float[Tensor, "k *d"]

    def __call__(self, x: Batch, level: Level) -> Batch:
        """E[x0 | x]: the points, weighted by how likely each is to have become x."""
        alpha, sigma = pad(level.alpha, x), pad(level.sigma, x)
        apart = ((x / sigma)[:, None] - (alpha / sigma)[..., None] * self.points[None]).flatten(2).square().sum(2)
        return torch.einsum("bk,k...->b...", (-apart / 2).softmax(1), self.points)
