"""Samplers: each is of the order that its paper states, and its samples have the law of the data."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import get_args

import pytest
import torch
from sampler_family import DETERMINISTIC, EXACT, LAW, SAMPLERS, STOCHASTIC, Member, last, silent
from torch import Tensor
from torch.testing import assert_close
from typecheck import unchecked

from limpid.diffusion.level import Level
from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.samplers import (
    Sampler,
)
from limpid.diffusion.schedules import (
    Karras,
    LinearBeta,
    RectifiedFlow,
    Schedule,
    ZeroTerminalSnr,
    sampling_levels,
)
from limpid.runtime.rng import generator


def test_every_kind_of_sampler_is_tested_here():
    assert set(get_args(Sampler)) == {type(sampler) for sampler in SAMPLERS}


# The levels of the order tests are smooth and stop above zero noise, where log-SNR is finite. They begin with a short
# step: a solver that remembers begins with order 1, and its error there must not hide what it does later.
FRAMES: dict[str, Callable[[Tensor], Level]] = {
    "variance exploding": lambda ratio: Level(torch.ones_like(ratio), ratio),
    "variance preserving": lambda ratio: Level(torch.ones_like(ratio), ratio).to_vp(),
    "straight": lambda ratio: Level(1 / (1 + ratio), ratio / (1 + ratio)),
}


def falling(high: float, low: float, steps: int) -> Tensor:
    """sigma / alpha from high to low, first step short."""
    run = torch.linspace(0, 1, steps + 1, dtype=torch.float64).square()
    return (math.log(high) + run * math.log(low / high)).exp()


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("member", DETERMINISTIC, ids=str)
@unchecked()
def test_the_error_falls_with_the_order_of_the_solver(member: Member, frame: str):
    x = torch.tensor([[1.0, -2.0], [0.3, 0.9]], dtype=torch.float64)
    errors = []
    for steps in (160, 320):
        levels = FRAMES[frame](falling(20, 0.05, steps))
        start = x * torch.hypot(levels[0].alpha, levels[0].sigma)
        end = last(member.sampler(LAW, start, levels, silent)).x
        errors.append((end - LAW.ode_solution(start, levels[0], levels[-1])).abs().max().item())
    measured = math.log2(errors[0] / errors[1])
    assert measured == pytest.approx(member.order, abs=0.2)


@pytest.mark.parametrize("member", STOCHASTIC, ids=str)
@unchecked()
def test_the_distribution_of_samples_converges_with_the_order_of_the_solver(member: Member, combinations: ModuleType):
    errors = []
    for steps in (160, 320):
        levels = FRAMES["variance preserving"](falling(2000, 0.05, steps))
        marginal = Gaussian(levels[-1].alpha * LAW.mean, torch.hypot(levels[-1].alpha * LAW.std, levels[-1].sigma))
        errors.append(
            combinations.error(*combinations.output_moments(member.sampler, LAW, levels, torch.float64), marginal)
        )
    measured = math.log2(errors[0] / errors[1])
    assert measured == pytest.approx(member.order, abs=0.25)


@pytest.mark.parametrize("sampler", [*(member.sampler for member in DETERMINISTIC), EXACT], ids=str)
def test_the_trajectory_is_the_same_in_every_frame(sampler: Sampler):
    ratio = torch.linspace(math.log(20), math.log(0.05), 13, dtype=torch.float64).exp()
    x, ends = torch.randn(4, 2, dtype=torch.float64, generator=generator("cpu", 3)), []
    for frame in FRAMES.values():
        levels = frame(ratio)
        end = last(sampler(LAW, x * levels[0].sigma, levels, silent))
        ends.append(end.x / end.level.alpha)
    assert_close(ends[1], ends[0], rtol=1e-6, atol=1e-6)
    assert_close(ends[2], ends[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("schedule", [LinearBeta(), ZeroTerminalSnr(), RectifiedFlow(), Karras()], ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@unchecked()
def test_samples_have_the_law_of_the_oracle(sampler: Sampler, schedule: Schedule, combinations: ModuleType):
    levels = sampling_levels(schedule, 200)
    mean, std = combinations.output_moments(sampler, LAW, levels, torch.float64)
    # Computed without chance: what remains is the error of 200 steps of order 1, and that the noisiest level of Karras
    # and LinearBeta still holds a trace of x0.
    assert combinations.error(mean, std, LAW) < 0.06
