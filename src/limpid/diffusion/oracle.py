"""Exact denoisers of known laws: what a perfect network would say, so that everything above it can be proven.

A law is called like a denoiser, and knows the log density of its noised samples at every level.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.denoiser import Labels
from limpid.diffusion.level import Batch, Level, PerSample, append_dims


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Data x0 ~ N(mean, std^2), each coordinate by itself; `mean` and `std` broadcast over one sample."""

    mean: Float[Tensor, "*d"]
    std: Float[Tensor, "*d"]

    def __call__(self, x: Batch, level: Level) -> Batch:
        """E[x0 | x] by Bayes' rule for two Gaussians."""
        alpha, sigma = append_dims(level.alpha, x), append_dims(level.sigma, x)
        signal = alpha * self.std.square()
        return self.mean + signal / (alpha * signal + sigma.square()) * (x - alpha * self.mean)

    def log_density(self, x: Batch, level: Level) -> PerSample:
        """ln p(x) at this level, where x ~ N(alpha mean, alpha^2 std^2 + sigma^2)."""
        alpha, sigma = append_dims(level.alpha, x), append_dims(level.sigma, x)
        spread = torch.hypot(alpha * self.std, sigma)
        away = (x - alpha * self.mean) / spread
        return -(away.square() / 2 + spread.log() + math.log(2 * math.pi) / 2).flatten(1).sum(1)

    def ode_solution(self, x: Batch, here: Level, there: Level) -> Batch:
        """Where the probability-flow ODE takes `x` from one level to another: the same quantile of both marginals."""

        def spread(level: Level) -> Tensor:
            return torch.hypot(level.alpha * self.std, level.sigma)

        return there.alpha * self.mean + spread(there) / spread(here) * (x - here.alpha * self.mean)


@dataclass(frozen=True, eq=False)
class EmpiricalData:
    """Data that are `points`: what a network that learnt its training set by heart says."""

    points: Float[Tensor, "k *d"]
    weights: Float[Tensor, " k"] | None = None
    """How likely each point is; all the same if not given."""

    def _joint(self, x: Batch, level: Level) -> Float[Tensor, "b k"]:
        """ln of each point's weight and of the exponential with which it becomes x, without the Gaussian's constant."""
        alpha, sigma = append_dims(level.alpha, x), append_dims(level.sigma, x)
        apart = ((x / sigma)[:, None] - (alpha / sigma)[..., None] * self.points[None]).flatten(2).square().sum(2)
        return -apart / 2 + (0.0 if self.weights is None else self.weights.log())

    def __call__(self, x: Batch, level: Level) -> Batch:
        """E[x0 | x]: the points, weighted by how likely each is to have become x."""
        return torch.einsum("bk,k...->b...", self._joint(x, level).softmax(1), self.points)

    def log_density(self, x: Batch, level: Level) -> PerSample:
        """ln p(x) at a level with noise: one Gaussian around each point."""
        whole = len(self.points) if self.weights is None else self.weights.sum()
        width = (math.sqrt(2 * math.pi) * level.sigma).log().to(x.device, x.dtype) * x[0].numel()
        return self._joint(x, level).logsumexp(1) - width - torch.as_tensor(whole).log()


@dataclass(frozen=True, eq=False)
class Mixture:
    """Data from one of several laws, each as often as its weight says; the laws are its classes."""

    weights: Float[Tensor, " k"]
    parts: tuple["DataDistribution", ...]

    def _joint(self, x: Batch, level: Level) -> Float[Tensor, "b k"]:
        densities = torch.stack([part.log_density(x, level) for part in self.parts], 1)
        return densities + self.weights.log().log_softmax(0)

    def __call__(self, x: Batch, level: Level) -> Batch:
        """E[x0 | x]: what each part says, weighted by how likely x came from it."""
        said = torch.stack([part(x, level) for part in self.parts], 1)
        return torch.einsum("bk,bk...->b...", self._joint(x, level).softmax(1), said)

    def log_density(self, x: Batch, level: Level) -> PerSample:
        """ln p(x) at this level."""
        return self._joint(x, level).logsumexp(1)

    def conditional(self, x: Batch, level: Level, labels: Labels) -> Batch:
        """E[x0 | x, class]: what the part of each sample's label says."""
        said = torch.stack([part(x, level) for part in self.parts])
        return said[labels, torch.arange(len(x), device=x.device)]


DataDistribution: TypeAlias = Gaussian | EmpiricalData | Mixture
