"""Complete trajectories of a fixed random network, by limpid and by diffusers.

diffusers keeps its tables in float32; each test gives it limpid's tables in float64, so that only rounding differs. The
solvers that also round x to float32 at each step are compared to 1e-5."""

from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers_steps import (
    EXACT,
    ROUNDED,
    assert_agree,
    count_the_second_difference_once,
    diffusers_steps,
    draws,
    in_float64,
    levels_of,
    limpid_steps,
)

from limpid.diffusion.level import Level
from limpid.diffusion.samplers import Ancestral, Ddim, Deis, DpmSolverPP, DpmSolverPP2S, Sampler, UniPC
from limpid.diffusion.schedules import LinearBeta

# diffusers hands tensors to numpy in ways that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


CLEAN = Level(torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
FIRST = LinearBeta()(torch.tensor([1 / 1000], dtype=torch.float64))


@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("steps", [20, 1000])
def test_ancestral_sampling_is_that_of_diffusers(variance: Any, steps: int, diffusers: ModuleType, monkeypatch):
    scheduler = in_float64(diffusers.DDPMScheduler(variance_type=f"fixed_{variance}", clip_sample=False))
    scheduler.set_timesteps(steps)
    scheduler.timesteps = scheduler.timesteps[-20:]
    levels = levels_of(scheduler, CLEAN)
    noises = iter(draws()[1:])
    monkeypatch.setattr(f"{type(scheduler).__module__}.randn_tensor", lambda *args, **kwargs: next(noises))
    assert_agree(limpid_steps(Ancestral(variance), levels), diffusers_steps(scheduler, levels), EXACT)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_that_of_diffusers(eta: float, diffusers: ModuleType):
    scheduler = in_float64(diffusers.DDIMScheduler(clip_sample=False))
    scheduler.set_timesteps(20)
    levels = levels_of(scheduler, CLEAN)
    reference = diffusers_steps(scheduler, levels, extra=lambda i: {"eta": eta, "variance_noise": draws()[i + 1]})
    assert_agree(limpid_steps(Ddim(eta), levels), reference, EXACT)


SOLVERS: list[tuple[str, dict[str, Any], int, Level, Sampler]] = [
    *(("DPMSolverSinglestep", {"final_sigmas_type": "zero"}, steps, CLEAN, DpmSolverPP2S()) for steps in (10, 11)),
    *(("UniPCMultistep", {"solver_order": p}, steps, CLEAN, UniPC(p)) for p in (1, 2, 3) for steps in (10, 20)),
    # Ends at the first step of the table, and lowers the order there only in fewer than 15 steps.
    *(("DEISMultistep", {"solver_order": p}, 18, FIRST, Deis(p)) for p in (1, 2, 3)),
]


@pytest.mark.parametrize(("name", "config", "steps", "end", "sampler"), SOLVERS, ids=str)
def test_a_solver_is_that_of_diffusers(
    name: str, config: dict[str, Any], steps: int, end: Level, sampler: Sampler, diffusers: ModuleType
):
    scheduler = getattr(diffusers, f"{name}Scheduler")(**config)
    scheduler.set_timesteps(steps)
    levels = levels_of(scheduler, end)
    assert_agree(limpid_steps(sampler, levels), diffusers_steps(scheduler, levels), EXACT)


@pytest.mark.parametrize("steps", [10, 14])
@pytest.mark.parametrize("kind", ["dpmsolver++", "sde-dpmsolver++"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_dpm_solver_is_that_of_diffusers(order: Any, kind: str, steps: int, diffusers: ModuleType):
    """diffusers lowers the order of the step before the last in fewer than 15 steps; limpid always does."""
    scheduler = diffusers.DPMSolverMultistepScheduler(solver_order=order, algorithm_type=kind)
    scheduler.set_timesteps(steps)
    levels = levels_of(scheduler, CLEAN)
    count_the_second_difference_once(scheduler)
    reference = diffusers_steps(scheduler, levels, extra=lambda i: {"variance_noise": draws()[i + 1]})
    assert_agree(limpid_steps(DpmSolverPP(order, kind.startswith("sde")), levels), reference, ROUNDED)
