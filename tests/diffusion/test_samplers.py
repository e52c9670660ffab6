import math
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Level, mix
from limpid.diffusion.oracle import Gaussian, Points
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP, Heun, Sampler
from limpid.diffusion.schedules import Cosine, Karras, LinearBeta, Schedule, grid
from limpid.diffusion.steps import Step, step_eps, step_x0
from limpid.learning.rng import generator

LAW = Gaussian(torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64))
SAMPLERS = [Ancestral(), Ancestral("large"), Ddim(), Ddim(0.5), Ddim(1.0), Heun(), Heun(churn=10), DpmSolverPP()]
DETERMINISTIC = [Ddim(), Heun(), DpmSolverPP()]


def silent() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def last(steps) -> Step:
    *_, end = steps
    return end


def test_every_kind_of_sampler_is_tested_here():
    assert set(get_args(Sampler)) == {type(sampler) for sampler in SAMPLERS}


def test_both_exact_steps_are_exact_when_picture_and_noise_stay():
    x0, eps = torch.randn(2, 3, 5, dtype=torch.float64)
    levels = grid(LinearBeta(), 3)
    here, there = levels[1], levels[2]
    x = mix(x0, eps, here)
    assert_close(step_eps(x, eps, here, there), mix(x0, eps, there))
    assert_close(step_x0(x, x0, here, there), mix(x0, eps, there))
    assert_close(step_x0(x, x0, here, levels[3]), x0)


# The levels of the order tests are smooth and stop above zero noise, where log-SNR is finite.
FRAMES = {
    "variance exploding": lambda ratio: Level(torch.ones_like(ratio), ratio),
    "variance preserving": lambda ratio: Level(torch.ones_like(ratio), ratio).unit(),
    "straight": lambda ratio: Level(1 / (1 + ratio), ratio / (1 + ratio)),
}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("sampler", "order"), [(Ddim(), 1), (Heun(), 2), (DpmSolverPP(), 2)], ids=str)
def test_the_error_falls_with_the_order_of_the_solver(sampler: Sampler, order: int, frame: str):
    x = torch.tensor([[1.0, -2.0], [0.3, 0.9]], dtype=torch.float64)
    errors = []
    for steps in (40, 80, 160):
        levels = FRAMES[frame](torch.linspace(math.log(20), math.log(0.05), steps + 1, dtype=torch.float64).exp())
        start = x * torch.hypot(levels[0].alpha, levels[0].sigma)
        end = last(sampler(LAW, start, levels, silent)).x
        errors.append((end - LAW.carried(start, levels[0], levels[-1])).abs().max().item())
    measured = [math.log2(a / b) for a, b in pairwise(errors)]
    assert measured[-1] == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=str)
def test_the_trajectory_is_the_same_in_every_frame(sampler: Sampler):
    ratio = torch.linspace(math.log(20), math.log(0.05), 13, dtype=torch.float64).exp()
    x, ends = torch.randn(4, 2, dtype=torch.float64, generator=generator("cpu", 3)), []
    for frame in FRAMES.values():
        levels = frame(ratio)
        end = last(sampler(LAW, x * levels[0].sigma, levels, silent))
        ends.append(end.x / end.level.alpha)
    assert_close(ends[1], ends[0])
    assert_close(ends[2], ends[0])


@pytest.mark.parametrize("schedule", [LinearBeta(), Cosine(), Karras(sigma_max=200.0)], ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_known_law_is_drawn(sampler: Sampler, schedule: Schedule):
    n, draw = 5_000, generator("cpu", 7)
    levels = grid(schedule, 200)

    def noise() -> Tensor:
        return torch.randn(n, 2, dtype=torch.float64, generator=draw)

    end = last(sampler(LAW, levels[0].sigma * noise(), levels, noise))
    # Four standard errors of a mean and of a standard deviation, and the first-order error of 200 steps.
    assert ((end.x.mean(0) - LAW.mean).abs() < 4 * LAW.std / math.sqrt(n) + 0.01).all()
    assert ((end.x.std(0) / LAW.std - 1).abs() < 4 / math.sqrt(2 * n) + 0.03).all()


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_sampler_ends_in_the_data(sampler: Sampler):
    points = torch.randn(6, 3, 2, 2, dtype=torch.float64, generator=generator("cpu", 5))
    draw = generator("cpu", 6)

    def noise() -> Tensor:
        return torch.randn(9, 3, 2, 2, dtype=torch.float64, generator=draw)

    levels = grid(Karras(), 60)
    ends = last(sampler(Points(points), levels[0].sigma * noise(), levels, noise)).x
    nearest = (ends[:, None] - points[None]).flatten(2).norm(dim=2).min(1)
    assert nearest.values.max() < 1e-3
    assert len(nearest.indices.unique()) > 1


def fresh(x: Tensor) -> Tensor:
    return torch.randn(x.shape, dtype=x.dtype, generator=generator("cpu", 9))


def told(eps: Tensor) -> Denoise:
    """A denoiser that always hears this noise."""
    return lambda x, level: (x - level.like(x).sigma * eps) / level.like(x).alpha


def in_float64(scheduler):
    """A scheduler of diffusers with its tables computed in float64, so that agreement is to rounding."""
    scheduler.betas = LinearBeta().betas()
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
    return scheduler


@pytest.mark.parametrize("variance", ["small", "large"])
def test_an_ancestral_step_is_that_of_diffusers(variance, diffusers):
    scheduler = in_float64(diffusers.DDPMScheduler(variance_type=f"fixed_{variance}", clip_sample=False))
    table = grid(LinearBeta(), 1000)
    x, eps = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64, generator=generator("cpu", 1))
    for t in (999, 998, 700, 321, 50, 2, 1, 0):
        levels = table[999 - t : 1001 - t]
        ours = last(Ancestral(variance)(told(eps), x, levels, lambda: fresh(x)))
        theirs = scheduler.step(eps, t, x, generator=generator("cpu", 9)).prev_sample
        assert_close(ours.x, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_ddim_step_is_that_of_diffusers(eta, diffusers):
    scheduler = in_float64(diffusers.DDIMScheduler(clip_sample=False))
    scheduler.set_timesteps(50)
    table = grid(LinearBeta(), 1000)
    x, eps, noise = torch.randn(3, 2, 3, 8, 8, dtype=torch.float64, generator=generator("cpu", 1))
    for t in (999, 980, 700, 321, 50, 21, 20, 19):
        levels = Level(table.alpha[[999 - t, 1019 - t]], table.sigma[[999 - t, 1019 - t]])
        ours = last(Ddim(eta)(told(eps), x, levels, lambda: noise))
        theirs = scheduler.step(eps, t, x, eta=eta, variance_noise=noise).prev_sample
        assert_close(ours.x, theirs, rtol=1e-9, atol=1e-9)


def test_ancestral_sampling_is_ddim_with_all_of_its_noise():
    levels = grid(Cosine(), 20)
    x = torch.randn(3, 2, dtype=torch.float64)
    draws = [generator("cpu", 4), generator("cpu", 4)]
    ends = [
        last(sampler(LAW, x, levels, lambda draw=draw: torch.randn(3, 2, dtype=torch.float64, generator=draw))).x
        for sampler, draw in zip((Ancestral("small"), Ddim(1.0)), draws, strict=True)
    ]
    assert_close(*ends)
