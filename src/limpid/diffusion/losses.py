"""The training loss: a norm of the error of the network's prediction of its target, times a weight of the level."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limpid.diffusion.denoiser import Denoiser, Labels
from limpid.diffusion.learned_variance import PosteriorBounds, vlb_loss
from limpid.diffusion.level import Batch, Level, PerSample, add_noise
from limpid.diffusion.schedules import Schedule
from limpid.diffusion.targets import Target, abs_c_out, target, x0_from
from limpid.diffusion.weightings import Unweighted, Weight


@dataclass(frozen=True)
class SquaredError:
    """The mean of e^2: the only one of these whose minimum is E[x0 | x], which samplers and likelihoods assume."""

    def __call__(self, error: Batch) -> PerSample:
        return error.square().flatten(1).mean(1)


@dataclass(frozen=True)
class L1:
    """The mean of |e|, whose minimum is the median of each value: outliers weigh less."""

    def __call__(self, error: Batch) -> PerSample:
        return error.abs().flatten(1).mean(1)


@dataclass(frozen=True)
class Huber:
    """The mean of e^2 / 2 where |e| < delta, and of delta (|e| - delta / 2) elsewhere (Huber 1964)."""

    delta: float = 1.0
    """Error of a value from which the loss grows linearly; the variance of targets is about 1."""

    def __post_init__(self) -> None:
        check_positive("Huber delta", self.delta)

    def __call__(self, error: Batch) -> PerSample:
        return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=self.delta).flatten(1).mean(1)


@dataclass(frozen=True)
class PseudoHuber:
    """sqrt(|e|^2 / d + c^2) - c of the d values of a sample together (Song and Dhariwal 2023, section 3.3).

    This is the paper's sqrt(|x - y|^2 + c_d^2) - c_d, with c_d = c sqrt(d), divided by sqrt(d): its size does not
    depend on the size of the images, like that of the other norms, which are means.
    """

    c: float = 0.00054
    """Root mean square of the error of a sample from which the loss grows linearly."""

    def __post_init__(self) -> None:
        check_positive("pseudo-Huber c", self.c)

    def __call__(self, error: Batch) -> PerSample:
        mean_square = error.square().flatten(1).mean(1)
        return mean_square / (
            (mean_square + self.c**2).sqrt() + self.c
        )  # avoids the difference of nearly equal numbers


ErrorNorm: TypeAlias = SquaredError | L1 | Huber | PseudoHuber


def check_positive(name: str, value: float) -> None:
    """Raise ValueError unless the value is finite and above 0: with 0 the gradient at an error of 0 would be 0 / 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} {value:g}: expected a finite number above 0")


class UncertaintyWeighting(nn.Module):
    """The logarithm u of the expected loss at each level, learned along with the network (Karras et al. 2024, eq. 21).

    The objective loss / exp(u) + u has its minimum at u = ln E[loss], for every error norm: there the weighted loss is
    1 at every level. u is a linear function of random Fourier features of ln(sigma / alpha).
    """

    frequencies: Float[Tensor, " n"]
    phases: Float[Tensor, " n"]

    def __init__(self, features: int = 128):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(features))
        self.register_buffer("phases", torch.rand(features))
        self.weight = nn.Parameter(torch.zeros(features))

    def forward(self, level: Level) -> PerSample:
        """The logarithm of the expected loss of each sample, at its level."""
        c_noise = (level.edm_sigma.log() / 4).clamp(-5, 5).float()[:, None]
        fourier = torch.cos(2 * math.pi * (c_noise * self.frequencies + self.phases))
        return fourier @ self.weight * (2 / len(self.weight)) ** 0.5

    def weighted_loss(self, loss: PerSample, level: Level) -> PerSample:
        """The objective of each sample: loss / exp(u) + u."""
        log_expected = self(level)
        return loss / log_expected.exp() + log_expected


def check_noisiest_loss(weight: Weight, kind: Target, schedule: Schedule, learned_variance: bool = False) -> None:
    """Raise ValueError if the loss is not finite at the noisiest level of training, as that of `Eps` without signal.

    There every weighting but `Unweighted` is infinite or 0 / 0, and so is the x0 in the bound of a learned variance.
    """
    level = schedule(torch.tensor([1 - 1e-9], dtype=torch.float64))  # the largest of a billion uniforms is about this
    if not weight(kind, level).float().isfinite().all():
        what = f"loss weighting {weight}"
    elif learned_variance and not abs_c_out(kind, level).isfinite().all():
        what = "learned variance"
    else:
        return
    raise ValueError(
        f"{what} with target {kind} has no finite loss at the noisiest level of {schedule}: choose another target, "
        "like V, or another schedule, or loss weighting Unweighted without learned variance"
    )


def denoising_loss(
    model: Denoiser,
    x0: Batch,
    eps: Batch,
    level: Level,
    labels: Labels | None = None,
    weight: Weight = Unweighted(),
    posterior: PosteriorBounds | None = None,
    error_norm: ErrorNorm = SquaredError(),
) -> PerSample:
    """The weighted error of each sample, in float32; `level` holds one level per sample.

    The weight depends on the level alone, not on the norm. For a model that learns its variance, the variational bound
    at the `posterior` of that level is added: it holds for any predicted mean, and no gradient flows through the mean,
    so it can be combined with every norm.
    """
    x = add_noise(x0, eps, level)
    y, variance_fraction = model.raw_output(x, level, labels)
    error = y - target(model.target, x0, eps, level)
    loss = error_norm(error) * weight(model.target, level).float()
    if variance_fraction is None or posterior is None:
        return loss
    return loss + vlb_loss(x0, x0_from(model.target, y.detach(), x, level), variance_fraction, posterior)
