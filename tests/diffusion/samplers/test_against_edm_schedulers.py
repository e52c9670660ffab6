"""Trajectories of a fixed random network on Karras' levels and on the straight path, by limpid and by diffusers."""

import math
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers_steps import (
    EXACT,
    ROUNDED,
    Conditioned,
    assert_agree,
    count_the_second_difference_once,
    diffusers_steps,
    limpid_steps,
)
from torch.testing import assert_close

from limpid.diffusion.level import Level, eps_from
from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.samplers import Ddim, DpmSolverPP, Heun, Lms
from limpid.diffusion.schedules import Karras, RectifiedFlow, sampling_levels
from limpid.diffusion.targets import Edm, Flow, target

# diffusers hands tensors to numpy in ways that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


def karras(scheduler: Any, steps: int) -> Level:
    """EDM's levels, in float64 for the scheduler too."""
    levels = sampling_levels(Karras(), steps)
    scheduler.set_timesteps(steps)
    assert_close(scheduler.sigmas.double(), levels.sigma, rtol=1e-5, atol=0)
    scheduler.sigmas = levels.sigma
    return levels


def test_euler_is_edm_euler_of_diffusers(diffusers: ModuleType):
    scheduler = diffusers.EDMEulerScheduler()
    levels = karras(scheduler, 18)
    assert_agree(
        limpid_steps(Ddim(), levels, Conditioned(Edm(), 0.5)), diffusers_steps(scheduler, levels, 0.5), ROUNDED
    )


@pytest.mark.parametrize("order", [1, 2, 3])
def test_dpm_solver_is_edm_dpm_solver_of_diffusers(order: Any, diffusers: ModuleType):
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(solver_order=order)
    levels = karras(scheduler, 12)
    count_the_second_difference_once(scheduler)
    assert_agree(
        limpid_steps(DpmSolverPP(order), levels, Conditioned(Edm(), 0.5)),
        diffusers_steps(scheduler, levels, 0.5),
        EXACT,
    )


def test_the_third_order_of_diffusers_is_the_second(diffusers: ModuleType):
    law = Gaussian(torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64))
    errors = []
    for steps in (80, 160, 320):
        scheduler = diffusers.EDMDPMSolverMultistepScheduler(solver_order=3, final_sigmas_type="sigma_min")
        scheduler.set_timesteps(steps)
        run = torch.linspace(0, 1, steps + 1, dtype=torch.float64).square()  # a short step first: it is of order 1
        scheduler.sigmas = (math.log(20) + run * math.log(0.05 / 20)).exp()
        levels = Level(torch.ones_like(run), scheduler.sigmas)
        start = x = 20 * torch.tensor([[1.0, -2.0], [0.3, 0.9]], dtype=torch.float64)
        for i, t in enumerate(scheduler.timesteps):
            x0 = law(x, levels[i])
            x = scheduler.step(target(Edm(), x0, eps_from(x0, x, levels[i]), levels[i]), t, x).prev_sample
        errors.append((x - law.ode_solution(start, levels[0], levels[-1])).abs().max().item())
    measured = [math.log2(a / b) for a, b in pairwise(errors)]
    assert measured[-1] == pytest.approx(2, abs=0.2)


def test_heun_is_that_of_diffusers(diffusers: ModuleType):
    scheduler = diffusers.HeunDiscreteScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    scheduler.set_timesteps(15)
    ratio = scheduler.sigmas.double()[[0, *range(1, 29, 2), 29]]
    scheduler.sigmas = torch.cat([ratio[:1], ratio[1:-1].repeat_interleave(2), ratio[-1:]])
    levels = Level(torch.ones_like(ratio), ratio)
    _, *rest = diffusers_steps(scheduler, levels, place=lambda i: (i + 1) // 2)
    assert_agree(limpid_steps(Heun(), levels), [*rest[::2], rest[-1]], EXACT)  # of each two, the first is a guess


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_lms_is_that_of_diffusers(order: Any, diffusers: ModuleType):
    pytest.importorskip("scipy")
    scheduler = diffusers.LMSDiscreteScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    scheduler.set_timesteps(15)
    scheduler.sigmas = ratio = scheduler.sigmas.double()
    levels = Level(torch.ones_like(ratio), ratio)
    scheduler.is_scale_input_called = True
    assert_agree(
        limpid_steps(Lms(order), levels), diffusers_steps(scheduler, levels, extra=lambda i: {"order": order}), EXACT
    )


def test_euler_along_the_straight_path_is_flow_matching_euler_of_diffusers(diffusers: ModuleType):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(20)
    levels = sampling_levels(RectifiedFlow(), 20)
    scheduler.sigmas = levels.sigma
    assert_agree(limpid_steps(Ddim(), levels, Conditioned(Flow())), diffusers_steps(scheduler, levels), ROUNDED)
