"""From a network to a denoiser: tell the network the level, ask for its target, solve for x0.

What goes in is a choice (`Condition`), and so is what comes out (`Target`); EDM's preconditioning is a pair of these.
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
    """The network is told t in 0 ... steps - 1, as DDPM's are; a level between two steps gets a fraction.

    `sigma_data` is the standard deviation of the data for which x is brought to variance one: 1 leaves x as it is on a
    variance-preserving path.
    """

    steps: int = 1000
    sigma_data: float = 1.0
    rescale_timesteps: bool = False
    """Tell 1000 t / steps instead of t, so that its range is always DDPM's (improved DDPM)."""

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise ValueError(f"timesteps {self.steps}: expected at least 2, or the network is blind to the level")

    def c_noise(self, level: Level, schedule: Schedule) -> Float[Tensor, "*b"]:
        """t - 1 for the level at step t of `schedule` cut into `steps`, or 1000 (t - 1) / steps."""
        table = _log_ratios(schedule, self.steps, level.sigma.dtype, level.sigma.device)
        ratio = level.edm_sigma.log().clamp(table[0], table[-1]).contiguous()
        left = (torch.searchsorted(table, ratio, right=True) - 1).clamp(0, self.steps - 2)
        width = (table[left + 1] - table[left]).clamp(min=torch.finfo(table.dtype).tiny)
        t = left + (ratio - table[left]) / width
        return t * (1000 / self.steps) if self.rescale_timesteps else t


@dataclass(frozen=True)
class LogSigma:
    """The network is told ln(sigma / alpha) / 4, as EDM's are (Karras et al. 2022, table 1)."""

    sigma_data: float = 0.5

    def c_noise(self, level: Level, schedule: Schedule) -> Float[Tensor, "*b"]:
        """ln(sigma / alpha) / 4, held within +-5, which lies beyond every level met in practice."""
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
    """A denoiser that can also say how much noise the step back should add, value by value."""

    denoise_with_variance: Callable[[Batch, Level], tuple[Batch, Batch | None]]
    """The picture expected, and the share of the large variance: None for a network that has not learnt it."""

    def __call__(self, x: Batch, level: Level) -> Batch:
        return self.denoise_with_variance(x, level)[0]


def map_x0(denoise: Denoise, change: Callable[[Batch, Batch, Level], Batch]) -> DenoiserWithVariance:
    """`denoise` with its picture turned into change(x0, x, level), and its share of the variance kept."""

    def look(x: Batch, level: Level) -> tuple[Batch, Batch | None]:
        x0, share = (
            denoise.denoise_with_variance(x, level)
            if isinstance(denoise, DenoiserWithVariance)
            else (denoise(x, level), None)
        )
        return change(x0, x, level), share

    return DenoiserWithVariance(look)


class Denoiser(nn.Module):
    """A network that knows its target and how it is told the level: E[x0 | x] on any path."""

    def __init__(
        self,
        net: nn.Module,
        target: Target,
        condition: NoiseConditioning,
        schedule: Schedule,
        no_label: int = 0,
        learns_variance: bool = False,
    ):
        super().__init__()
        self.learns_variance = learns_variance
        self.net, self.target, self.condition, self.schedule = net, target, condition, schedule
        self.null_label = no_label  # the label that says nothing; the classes are those below it

    def raw_output(self, x: Batch, level: Level, labels: Labels | None = None) -> tuple[Batch, Batch | None]:
        """The network's answer y, in float32, on `x` brought to variance one; and the share of the large variance that
        the step back should have, if it was built to answer that too."""
        norm = torch.hypot(self.condition.sigma_data * level.alpha, level.sigma)
        c_noise: PerSample = self.condition.c_noise(level, self.schedule).to(x.device, torch.float32).expand(len(x))
        said = self.net(x * append_dims(1 / norm, x), c_noise, labels).float()
        if not self.learns_variance:
            return said, None
        y, share = said.chunk(2, dim=1)
        return y, (share + 1) / 2

    def predict(self, x: Batch, level: Level, labels: Labels | None = None) -> Batch:
        """The network's answer y alone."""
        return self.raw_output(x, level, labels)[0]

    def denoise_with_variance(self, x: Batch, level: Level, labels: Labels | None = None) -> tuple[Batch, Batch | None]:
        """The picture expected in `x`, and the share of the large variance."""
        y, share = self.raw_output(x, level, labels)
        return x0_from(self.target, y, x, level), share

    def forward(self, x: Batch, level: Level, labels: Labels | None = None) -> Batch:
        """The picture expected in `x`."""
        return x0_from(self.target, self.predict(x, level, labels), x, level)
