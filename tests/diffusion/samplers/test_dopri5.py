import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.diffusion.level import Batch, Level
from limpid.diffusion.oracle import EmpiricalData, Gaussian
from limpid.diffusion.samplers.dopri5 import Dopri5
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.runtime.rng import generator

LAW = Gaussian(torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64))


def silent() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-7, 1e-10])
def test_dopri5_meets_its_tolerance_within_the_stated_number_of_evaluations(tolerance: float):
    calls, levels = [], sampling_levels(Karras(), 18)[:-1]

    def denoise(x: Batch, level: Level) -> Batch:
        calls.append(level)
        return LAW(x, level)

    start = 80 * torch.randn(50, 2, dtype=torch.float64, generator=generator("cpu", 2))
    steps = list(Dopri5(tolerance, tolerance)(denoise, start, levels, silent))
    # A local error within the tolerance at each step, over some tens of steps.
    assert (steps[-1].x - LAW.ode_solution(start, levels[0], levels[-1])).abs().max() < 10 * tolerance
    assert len(calls) % 6 == 1
    assert len(calls) <= 6 * len(steps) * 1.5 + 1  # at most one try in three is refused


def test_each_adaptive_step_goes_down_and_yields_its_x0():
    levels = sampling_levels(Karras(), 18)
    steps = list(Dopri5()(LAW, 80 * torch.randn(3, 2, dtype=torch.float64), levels, silent))
    assert all(before.level.edm_sigma > after.level.edm_sigma for before, after in pairwise(steps))
    assert steps[-1].level.sigma == 0
    for step in steps[:-1]:
        assert_close(step.x0, LAW(step.x, step.level), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("answer", [math.nan, math.inf])
def test_the_adaptive_solver_refuses_what_no_step_can_solve(answer: float):
    with pytest.raises(ArithmeticError, match="not finite"):
        list(
            Dopri5()(
                lambda x, level: torch.full_like(x, answer), torch.ones(1, 2), sampling_levels(Karras(), 9), silent
            )
        )


def test_the_adaptive_solver_refuses_more_digits_than_there_are():
    with pytest.raises(ValueError, match=r"below the precision of torch\.float32"):
        list(Dopri5(1e-14, 1e-14)(EmpiricalData(torch.eye(2)), torch.ones(1, 2), sampling_levels(Karras(), 9), silent))
