"""The steps of a sampler of limpid and of a scheduler of diffusers, for one fixed random network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers import Sampler
from limpid.diffusion.samplers.steps import SamplerStep
from limpid.diffusion.schedules import LinearBeta
from limpid.diffusion.targets import Eps, Target, x0_from
from limpid.runtime.rng import generator

SHAPE = (2, 3, 2, 2)
MIX, TIME, SHIFT = torch.randn(3, 12, 12, dtype=torch.float64, generator=generator("cpu", 1))
ROUNDED = 1e-5
EXACT = 1e-9


def net(x: Batch, level: Level) -> Batch:
    """A smooth function of x and of the level, bounded as a network's answer is."""
    time = (level.edm_sigma.log() / 4).clamp(-5, 5)
    return torch.tanh(x.flatten(1).double() @ MIX / 4 + time * TIME[0] + SHIFT[0]).reshape(x.shape)


@dataclass(frozen=True)
class Conditioned:
    """The denoiser that hears `net`, which sees x brought to variance one, as the noise, or as another target."""

    kind: Target = Eps()
    sigma_data: float = 1.0

    def __call__(self, x: Batch, level: Level) -> Batch:
        return x0_from(self.kind, net(x / torch.hypot(self.sigma_data * level.alpha, level.sigma), level), x, level)


def draws(n: int = 40) -> Tensor:
    return torch.randn(n, *SHAPE, generator=generator("cpu", 2)).double()


def limpid_steps(sampler: Sampler, levels: Level, denoise: Denoise = Conditioned()) -> list[SamplerStep]:
    """Every step from the first draw, fresh noise being those that follow."""
    first, *rest = draws()
    noises = iter(rest)
    return list(sampler(denoise, levels[0].sigma * first, levels, lambda: next(noises)))


def assert_agree(steps: list[SamplerStep], reference: Iterable[Tensor], tolerance: float) -> None:
    for step, x in zip(steps, reference, strict=True):
        assert_close(step.x, x, rtol=tolerance, atol=tolerance)


def levels_of(scheduler: Any, end: Level) -> Level:
    """The levels at the timesteps of a discrete scheduler, then `end`; its sigmas are made the same."""
    at = LinearBeta()((scheduler.timesteps.double() + 1) / 1000)
    levels = Level(torch.cat([at.alpha, end.alpha]), torch.cat([at.sigma, end.sigma]))
    scheduler.sigmas = levels.edm_sigma
    return levels


def in_float64(scheduler: Any) -> Any:
    """A scheduler with its table of betas in float64."""
    scheduler.betas = LinearBeta().betas()
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    return scheduler


def diffusers_steps(
    scheduler: Any,
    levels: Level,
    sigma_data: float = 1.0,
    extra: Callable[[int], dict[str, Any]] = lambda i: {},
    place: Callable[[int], int] = lambda i: i,
) -> Iterable[Tensor]:
    """x after each step of a scheduler; `extra` is what each is given, and `place` the level that it is at."""
    x = levels[0].sigma * draws()[0]
    for i, t in enumerate(scheduler.timesteps):
        level = levels[place(i)]
        y = net(x / torch.hypot(sigma_data * level.alpha, level.sigma), level)
        x = scheduler.step(y, t, x, **extra(i)).prev_sample
        yield x


def count_the_second_difference_once(scheduler: Any) -> None:
    """Mend the third order of diffusers' multistep DPM-Solver++, which limpid departs from.

    The mean of a quadratic takes its complete second divided difference, D2 times 2 phi with phi the third exponential
    function. The published code takes half of that, and diffusers' stochastic form phi - 1: of order 2 (the test below)
    and of order 1.
    """
    reference = scheduler.multistep_dpm_solver_third_order_update
    sde = scheduler.config.algorithm_type.startswith("sde")

    def mended(outputs: list[Tensor], sample: Tensor, **noise: Tensor) -> Tensor:
        i = scheduler.step_index
        l1, l0, l2, l3 = (-scheduler.sigmas[j].log() for j in (i + 1, i, i - 1, i - 2))
        h = l1 - l0
        curve = (
            h.square() * ((outputs[-1] - outputs[-2]) / (l0 - l2) - (outputs[-2] - outputs[-3]) / (l2 - l3)) / (l0 - l3)
        )
        z = h * (2 if sde else 1)
        phi = 0.5 - (torch.expm1(-z) + z) / z.square()
        alpha, _ = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[i + 1])
        return reference(outputs, sample=sample, **noise) + alpha * (2 * phi - (phi - 1 if sde else phi)) * curve

    scheduler.multistep_dpm_solver_third_order_update = mended
