"""From a network to a denoiser: condition the network on the level, predict the target, solve for x0.

The conditioning is a choice (`NoiseConditioning`), and so is the target (`Target`); EDM's preconditioning is a pair of
these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from limpid.diffusion.level import Batch, Level, PerSample, append_dims
from limpid.diffusion.schedules import Schedule
from limpid.diffusion.targets import Target, x0_from

Labels: TypeAlias = Int[Tensor, " b"]
Denoise: TypeAlias = Callable[[Batch, Level], Batch]


@dataclass(frozen=True)
class Timestep:
    """The network is conditioned on t in 0 ... steps - 1, as in DDPM; a level between two steps gives a fraction.

    x is scaled to variance 1 for data of standard deviation `sigma_data`; 1 leaves x unchanged on a variance-preserving
    path.
    """

    steps: int = 1000
    sigma_data: float = 1.0
    rescale_timesteps: bool = False
    """Condition on 1000 t / steps instead of t, so that its range is always DDPM's (improved DDPM)."""

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise ValueError(f"timesteps {self.steps}: expected at least 2, or the network cannot distinguish levels")

    def c_noise(self, level: Level, schedule: Schedule) -> Float[Tensor, "*b"]:
        """t - 1 for the level at step t of `schedule` cut into `steps`, or 1000 (t - 1) / steps."""
        table = _log_ratios(schedule, self.steps, level.sigma.dtype, level.sigma.device)
        ratio = level.edm_sigma.log().clamp(table[0], table[-1]).contiguous()
        left = (torch.searchsorted(table, ratio, right=True) - 1).clamp(0, self.steps - 2)
        # Where two steps of the table are equal, the numerator is 0 too. float32, as in exported models, can hold this.
        width = (table[left + 1] - table[left]).clamp(min=torch.finfo(torch.float32).tiny)
        t = left + (ratio - table[left]) / width
        return t * (1000 / self.steps) if self.rescale_timesteps else t


@dataclass(frozen=True)
class LogSigma:
    """The network is conditioned on ln(sigma / alpha) / 4, as in EDM (Karras et al. 2022, table 1)."""

    sigma_data: float = 0.5

    def c_noise(self, level: Level, schedule: Schedule) -> Float[Tensor, "*b"]:
        """ln(sigma / alpha) / 4, clamped to +-5, beyond every level met in practice."""
        return (level.edm_sigma.log() / 4).clamp(-5, 5)


NoiseConditioning: TypeAlias = Timestep | LogSigma


@lru_cache(maxsize=64)
def _log_ratios(schedule: Schedule, steps: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " n"]:
    """ln(sigma / alpha) at steps 1 ... n of a schedule, finite, for interpolation."""
    u = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    ratios = schedule(u).edm_sigma.log()
    return ratios.nan_to_num(posinf=torch.finfo(torch.float32).max).to(dtype).to(device)


@dataclass(frozen=True, eq=False)
class DenoiserWithVariance:
    """A denoiser that may also predict the variance of the reverse step, for each value."""

    denoise_with_variance: Callable[[Batch, Level], tuple[Batch, Batch | None]]
    """E[x0 | x], and the fraction of the large variance (None for a network without a learned variance)."""

    def __call__(self, x: Batch, level: Level) -> Batch:
        return self.denoise_with_variance(x, level)[0]


def map_x0(denoise: Denoise, change: Callable[[Batch, Batch, Level], Batch]) -> DenoiserWithVariance:
    """`denoise` with its x0 replaced by change(x0, x, level), and its variance unchanged."""

    def denoise_and_change(x: Batch, level: Level) -> tuple[Batch, Batch | None]:
        x0, variance_fraction = (
            denoise.denoise_with_variance(x, level)
            if isinstance(denoise, DenoiserWithVariance)
            else (denoise(x, level), None)
        )
        return change(x0, x, level), variance_fraction

    return DenoiserWithVariance(denoise_and_change)


class Denoiser(nn.Module):
    """A network with its target and its conditioning on the noise level: E[x0 | x] on any path."""

    def __init__(
        self,
        net: nn.Module,
        target: Target,
        condition: NoiseConditioning,
        schedule: Schedule,
        null_label: int = 0,
        learns_variance: bool = False,
    ):
        super().__init__()
        self.learns_variance = learns_variance
        self.net, self.target, self.condition, self.schedule = net, target, condition, schedule
        self.null_label = null_label  # the label for "no label"; the classes are the numbers below it

    def raw_output(self, x: Batch, level: Level, labels: Labels | None = None) -> tuple[Batch, Batch | None]:
        """The network's prediction y of the target, in float32, and the fraction of the large variance, if it is
        learned. The network is given `x` scaled to variance 1."""
        norm = torch.hypot(self.condition.sigma_data * level.alpha, level.sigma)
        c_noise: PerSample = self.condition.c_noise(level, self.schedule).to(x.device, torch.float32)
        c_noise = c_noise.expand(x.shape[0])  # `len` would fix the size of the batch where this is exported
        output = self.net(x * append_dims(1 / norm, x), c_noise, labels).float()
        if not self.learns_variance:
            return output, None
        y, variance_fraction = output.chunk(2, dim=1)
        return y, (variance_fraction + 1) / 2

    def predict(self, x: Batch, level: Level, labels: Labels | None = None) -> Batch:
        """The network's prediction y of the target."""
        return self.raw_output(x, level, labels)[0]

    def denoise_with_variance(self, x: Batch, level: Level, labels: Labels | None = None) -> tuple[Batch, Batch | None]:
        """E[x0 | x], and the fraction of the large variance."""
        y, variance_fraction = self.raw_output(x, level, labels)
        return x0_from(self.target, y, x, level), variance_fraction

    def forward(self, x: Batch, level: Level, labels: Labels | None = None) -> Batch:
        """E[x0 | x]."""
        return x0_from(self.target, self.predict(x, level, labels), x, level)
