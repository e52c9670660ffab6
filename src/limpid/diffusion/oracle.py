"""Exact denoisers of known distributions, as a perfect network would learn: samplers and likelihoods are tested on
them.

A distribution is called like a denoiser, and has the log density of its noisy samples at every level.
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
        std = torch.hypot(alpha * self.std, sigma)
        z = (x - alpha * self.mean) / std
        return -(z.square() / 2 + std.log() + math.log(2 * math.pi) / 2).flatten(1).sum(1)

    def ode_solution(self, x: Batch, source: Level, target: Level) -> Batch:
        """The solution of the probability-flow ODE from `x` at `source`: the same quantile of the marginal at
        `target`."""

        def std(level: Level) -> Tensor:
            return torch.hypot(level.alpha * self.std, level.sigma)

        return target.alpha * self.mean + std(target) / std(source) * (x - source.alpha * self.mean)


@dataclass(frozen=True, eq=False)
class EmpiricalData:
    """The empirical distribution of `points`: the denoiser of a network that has memorized its training set."""

    points: Float[Tensor, "k *d"]
    weights: Float[Tensor, " k"] | None = None
    """Unnormalized probability of each point; None for equal ones."""

    def _joint(self, x: Batch, level: Level) -> Float[Tensor, "b k"]:
        """ln p(point) + ln p(x | point), without the normalizing constant of the Gaussian."""
        alpha, sigma = append_dims(level.alpha, x), append_dims(level.sigma, x)
        distance = ((x / sigma)[:, None] - (alpha / sigma)[..., None] * self.points[None]).flatten(2).square().sum(2)
        return -distance / 2 + (0.0 if self.weights is None else self.weights.log())

    def posterior(self, x: Batch, level: Level) -> Float[Tensor, "b k"]:
        """p(point | x) of every point."""
        return self._joint(x, level).softmax(1)

    def mean(self, posterior: Float[Tensor, "b k"]) -> Batch:
        """The mean of the points, weighted by p(point | x)."""
        return torch.einsum("bk,k...->b...", posterior, self.points)

    def __call__(self, x: Batch, level: Level) -> Batch:
        """E[x0 | x]."""
        return self.mean(self.posterior(x, level))

    def log_density(self, x: Batch, level: Level) -> PerSample:
        """ln p(x) at a level with noise: one Gaussian around each point."""
        total = len(self.points) if self.weights is None else self.weights.sum()
        constant = (math.sqrt(2 * math.pi) * level.sigma).log().to(x.device, x.dtype) * x[0].numel()
        return self._joint(x, level).logsumexp(1) - constant - torch.as_tensor(total).log()


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of distributions with unnormalized `weights`; each part is a class."""

    weights: Float[Tensor, " k"]
    parts: tuple["DataDistribution", ...]

    def _joint(self, x: Batch, level: Level) -> Float[Tensor, "b k"]:
        densities = torch.stack([part.log_density(x, level) for part in self.parts], 1)
        return densities + self.weights.log().log_softmax(0)

    def __call__(self, x: Batch, level: Level) -> Batch:
        """E[x0 | x]: the mean of the parts' E[x0 | x], weighted by p(part | x)."""
        denoised = torch.stack([part(x, level) for part in self.parts], 1)
        return torch.einsum("bk,bk...->b...", self._joint(x, level).softmax(1), denoised)

    def log_density(self, x: Batch, level: Level) -> PerSample:
        """ln p(x) at this level."""
        return self._joint(x, level).logsumexp(1)

    def conditional(self, x: Batch, level: Level, labels: Labels) -> Batch:
        """E[x0 | x, label]: the denoiser of the part that the label of each sample names."""
        denoised = torch.stack([part(x, level) for part in self.parts])
        return denoised[labels, torch.arange(len(x), device=x.device)]


def effective_number(posterior: Float[Tensor, "b k"]) -> PerSample:
    """The effective number of points in a mean with these weights, from 1 to k: 1 / sum p^2 (Kish 1965)."""
    return 1 / posterior.square().sum(1)


DataDistribution: TypeAlias = Gaussian | EmpiricalData | Mixture
