"""Whole trajectories of a fixed random network, by limpid and by diffusers.

diffusers keeps its tables in float32; each test gives it limpid's tables in float64, so that only rounding differs. The
solvers that also round x to float32 at each step are compared to 1e-5.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level, eps_from
from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.samplers import Ancestral, Ddim, Deis, DpmSolverPP, DpmSolverPP2S, Heun, Lms, Sampler, UniPC
from limpid.diffusion.samplers.steps import SamplerStep
from limpid.diffusion.schedules import Karras, LinearBeta, RectifiedFlow, sampling_levels
from limpid.diffusion.targets import Edm, Eps, Flow, Target, target, x0_from
from limpid.runtime.rng import generator

# diffusers hands tensors to numpy in ways that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

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


CLEAN = Level(torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
FIRST = LinearBeta()(torch.tensor([1 / 1000], dtype=torch.float64))


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
