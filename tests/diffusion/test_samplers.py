import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple, get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.diffusion.averages import moments, weights
from limpid.diffusion.level import Batch, Level, mix
from limpid.diffusion.oracle import Gaussian, Points
from limpid.diffusion.samplers import (
    Adaptive,
    Ancestral,
    Ddim,
    Deis,
    DpmSolverPP,
    DpmSolverPP2S,
    Heun,
    Lms,
    Sampler,
    UniPC,
)
from limpid.diffusion.schedules import Cosine, Karras, LinearBeta, Schedule, Straight, ZeroTerminal, grid
from limpid.diffusion.steps import Step, step_eps, step_x0
from limpid.learning.rng import generator

LAW = Gaussian(torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64))


class Member(NamedTuple):
    """A sampler and what its docstring says of it."""

    sampler: Sampler
    order: int
    """Of the error of a trajectory; of the law that is drawn, if there is noise."""
    evaluations: int = 1
    """Of each step but the last."""


DETERMINISTIC = [
    Member(Ddim(), 1),
    Member(Heun(), 2, 2),
    *(Member(DpmSolverPP(order), order) for order in (1, 2, 3)),
    Member(DpmSolverPP2S(), 2),
    *(Member(UniPC(order), order + 1) for order in (1, 2, 3)),
    *(Member(Deis(order), order) for order in (1, 2, 3, 4)),
    *(Member(Lms(order), order) for order in (1, 2, 3, 4)),
]
STOCHASTIC = [
    Member(Ancestral(), 1),
    Member(Ancestral("large"), 1),
    Member(Ddim(0.5), 1),
    Member(Ddim(1.0), 1),
    Member(Heun(churn=3), 2, 2),
    Member(DpmSolverPP(1, sde=True), 1),
    Member(DpmSolverPP(2, sde=True), 2),
    Member(DpmSolverPP(3, sde=True), 2),
]
EXACT = Adaptive(1e-6, 1e-6)
SAMPLERS = [*(member.sampler for member in DETERMINISTIC + STOCHASTIC), EXACT]


def silent() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def last(steps: Iterable[Step]) -> Step:
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


@pytest.mark.parametrize("rate", [-20.0, -1.0, 0.0, 1e-7, 3.0, 20.0])
def test_the_weights_are_exact_for_polynomials(rate: float):
    times = [0.0, -0.7, -1.1, 1.0]
    for power, moment in enumerate(moments(rate, 4).tolist()):
        found = sum(share * time**power for share, time in zip(weights(times, rate), times, strict=True))
        assert found == pytest.approx(moment, abs=1e-12)


def test_the_moments_are_those_of_an_exponential():
    for rate in (-4.0, 4.0):
        mean = 1 / -math.expm1(-rate) - 1 / rate
        assert moments(rate, 2).tolist() == pytest.approx([1, mean], abs=1e-14)
    assert moments(0.0, 3).tolist() == pytest.approx([1, 1 / 2, 1 / 3], abs=1e-14)


# The levels of the order tests are smooth and stop above zero noise, where log-SNR is finite. They begin with a short
# step: a solver that remembers begins with order 1, and its error there must not hide what it does later.
FRAMES: dict[str, Callable[[Tensor], Level]] = {
    "variance exploding": lambda ratio: Level(torch.ones_like(ratio), ratio),
    "variance preserving": lambda ratio: Level(torch.ones_like(ratio), ratio).unit(),
    "straight": lambda ratio: Level(1 / (1 + ratio), ratio / (1 + ratio)),
}


def falling(high: float, low: float, steps: int) -> Tensor:
    """sigma / alpha from high to low, first step short."""
    run = torch.linspace(0, 1, steps + 1, dtype=torch.float64).square()
    return (math.log(high) + run * math.log(low / high)).exp()


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("member", DETERMINISTIC, ids=str)
def test_the_error_falls_with_the_order_of_the_solver(member: Member, frame: str):
    x = torch.tensor([[1.0, -2.0], [0.3, 0.9]], dtype=torch.float64)
    errors = []
    for steps in (80, 160, 320):
        levels = FRAMES[frame](falling(20, 0.05, steps))
        start = x * torch.hypot(levels[0].alpha, levels[0].sigma)
        end = last(member.sampler(LAW, start, levels, silent)).x
        errors.append((end - LAW.carried(start, levels[0], levels[-1])).abs().max().item())
    measured = [math.log2(a / b) for a, b in pairwise(errors)]
    assert measured[-1] == pytest.approx(member.order, abs=0.2)


@pytest.mark.parametrize("member", STOCHASTIC, ids=str)
def test_the_law_drawn_comes_nearer_with_the_order_of_the_solver(member: Member, combinations: ModuleType):
    errors = []
    for steps in (80, 160, 320):
        levels = FRAMES["variance preserving"](falling(2000, 0.05, steps))
        marginal = Gaussian(levels[-1].alpha * LAW.mean, torch.hypot(levels[-1].alpha * LAW.std, levels[-1].sigma))
        errors.append(combinations.error(*combinations.drawn(member.sampler, LAW, levels, torch.float64), marginal))
    measured = [math.log2(a / b) for a, b in pairwise(errors)]
    assert measured[-1] == pytest.approx(member.order, abs=0.25)


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


@pytest.mark.parametrize("schedule", [LinearBeta(), ZeroTerminal(), Straight(), Karras()], ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_known_law_is_drawn(sampler: Sampler, schedule: Schedule, combinations: ModuleType):
    levels = grid(schedule, 200)
    mean, std = combinations.drawn(sampler, LAW, levels, torch.float64)
    # Computed without chance: what remains is the error of 200 steps of order 1, and that the noisiest level of Karras
    # and LinearBeta still holds a trace of the picture.
    assert combinations.error(mean, std, LAW) < 0.06


@pytest.mark.parametrize("schedule", [Karras(), Straight()], ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_sampler_ends_in_the_data(sampler: Sampler, schedule: Schedule):
    points = torch.randn(6, 3, 2, 2, generator=generator("cpu", 5))
    draw = generator("cpu", 6)

    def noise() -> Tensor:
        return torch.randn(9, 3, 2, 2, generator=draw)

    levels = grid(schedule, 60)
    ends = last(sampler(Points(points), levels[0].sigma * noise(), levels, noise)).x
    nearest = (ends[:, None] - points[None]).flatten(2).norm(dim=2).min(1)
    assert ends.dtype == torch.float32
    assert nearest.values.max() < 1e-3
    assert len(nearest.indices.unique()) > 1


class Counted:
    """A denoiser that knows how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Batch, level: Level) -> Batch:
        self.calls += 1
        return LAW(x, level)


@pytest.mark.parametrize("member", DETERMINISTIC + STOCHASTIC, ids=str)
def test_each_step_takes_the_evaluations_that_it_says(member: Member):
    denoise, levels = Counted(), grid(Karras(), 10)
    counts = []
    for _ in member.sampler(denoise, torch.randn(2, 2), levels, lambda: torch.randn(2, 2)):
        counts.append(denoise.calls)
        denoise.calls = 0
    assert counts == [member.evaluations] * 9 + [1]


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-7, 1e-10])
def test_the_adaptive_solver_is_as_exact_as_asked_and_no_slower_than_it_says(tolerance: float):
    denoise, levels = Counted(), grid(Karras(), 18)[:-1]
    start = 80 * torch.randn(50, 2, dtype=torch.float64, generator=generator("cpu", 2))
    steps = list(Adaptive(tolerance, tolerance)(denoise, start, levels, silent))
    # A local error within the tolerance at each step, over some tens of steps.
    assert (steps[-1].x - LAW.carried(start, levels[0], levels[-1])).abs().max() < 10 * tolerance
    assert denoise.calls % 6 == 1
    assert denoise.calls <= 6 * len(steps) * 1.5 + 1  # at most one try in three is refused


def test_each_adaptive_step_goes_down_and_shows_the_picture_that_it_saw():
    levels = grid(Karras(), 18)
    steps = list(Adaptive()(LAW, 80 * torch.randn(3, 2, dtype=torch.float64), levels, silent))
    assert all(here.level.ratio > there.level.ratio for here, there in pairwise(steps))
    assert steps[-1].level.sigma == 0
    for step in steps[:-1]:
        assert_close(step.x0, LAW(step.x, step.level), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("answer", [math.nan, math.inf])
def test_the_adaptive_solver_refuses_what_no_step_can_solve(answer: float):
    with pytest.raises(ArithmeticError, match="not finite"):
        last(Adaptive()(lambda x, level: torch.full_like(x, answer), torch.ones(1, 2), grid(Karras(), 9), silent))


def test_the_adaptive_solver_refuses_more_digits_than_there_are():
    with pytest.raises(ValueError, match=r"more digits than torch\.float32"):
        last(Adaptive(1e-14, 1e-14)(Points(torch.eye(2)), torch.ones(1, 2), grid(Karras(), 9), silent))


def test_ancestral_sampling_is_ddim_with_all_of_its_noise():
    levels = grid(Cosine(), 20)
    x = torch.randn(3, 2, dtype=torch.float64)
    draws = [generator("cpu", 4) for _ in range(3)]
    ends = [
        last(sampler(LAW, x, levels, lambda draw=draw: torch.randn(3, 2, dtype=torch.float64, generator=draw))).x
        for sampler, draw in zip((Ancestral("small"), Ddim(1.0), DpmSolverPP(1, sde=True)), draws, strict=True)
    ]
    assert_close(ends[1], ends[0])
    assert_close(ends[2], ends[0])


@pytest.mark.parametrize("sampler", [DpmSolverPP(1), Deis(1), Lms(1)], ids=str)
def test_every_solver_of_order_one_is_ddim(sampler: Sampler):
    levels, x = grid(Straight(), 7), torch.randn(3, 2, dtype=torch.float64)
    assert_close(last(sampler(LAW, x, levels, silent)).x, last(Ddim()(LAW, x, levels, silent)).x)
