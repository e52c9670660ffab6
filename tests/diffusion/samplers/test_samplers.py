import math
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import NamedTuple, get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from typecheck import unchecked

from limpid.diffusion.level import Batch, Level, add_noise, eps_from
from limpid.diffusion.oracle import EmpiricalData, Gaussian
from limpid.diffusion.samplers import (
    Ancestral,
    Ddim,
    Deis,
    Dopri5,
    DpmSolverPP,
    DpmSolverPP2S,
    Heun,
    Lms,
    Sampler,
    UniPC,
)
from limpid.diffusion.samplers.multistep import second_order_final
from limpid.diffusion.samplers.steps import SamplerStep, eps_change, step_eps, step_x0
from limpid.diffusion.schedules import (
    Cosine,
    Karras,
    LinearBeta,
    RectifiedFlow,
    ScaledLinearBeta,
    Schedule,
    ShiftedSnr,
    Sigmoid,
    VpSde,
    ZeroTerminalSnr,
    sampling_levels,
)
from limpid.runtime.rng import generator

LAW = Gaussian(torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64))


class Member(NamedTuple):
    """A sampler and what its docstring says of it."""

    sampler: Sampler
    order: int
    """The order of the error of a trajectory; with noise, of the error of the distribution."""
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
EXACT = Dopri5(1e-6, 1e-6)
SAMPLERS = [*(member.sampler for member in DETERMINISTIC + STOCHASTIC), EXACT]


def silent() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def last(steps: Iterable[SamplerStep]) -> SamplerStep:
    *_, end = steps
    return end


def test_every_kind_of_sampler_is_tested_here():
    assert set(get_args(Sampler)) == {type(sampler) for sampler in SAMPLERS}


def test_both_exact_steps_are_exact_for_constant_x0_and_noise():
    x0, eps = torch.randn(2, 3, 5, dtype=torch.float64)
    levels = sampling_levels(LinearBeta(), 3)
    source, target = levels[1], levels[2]
    x = add_noise(x0, eps, source)
    guess = torch.randn_like(x0)
    assert_close(step_eps(x, guess, eps - eps_from(guess, x, source), source, target), add_noise(x0, eps, target))
    assert_close(step_x0(x, x0, source, target), add_noise(x0, eps, target))
    assert_close(step_x0(x, x0, source, levels[3]), x0)


def test_the_change_of_the_noise_is_known_from_x0_at_both_ends():
    x, x0, x0_target, away = torch.randn(4, 3, 5, dtype=torch.float64)
    levels = sampling_levels(LinearBeta(), 3)
    source, target = levels[1], levels[2]
    for eps_offset in (away, None):
        after = step_x0(x, x0, source, target) if eps_offset is None else step_eps(x, x0, eps_offset, source, target)
        expected = eps_from(x0_target, after, target) - eps_from(x0, x, source)
        assert_close(eps_change(x0, x0_target, eps_offset, source, target), expected)


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


# Levels from sigma / alpha 1e5, and beyond, down to 1e-4; and the end of such a walk, begun at each of those between.
CONTINUOUS = [
    *(VpSde(), Sigmoid(), RectifiedFlow(), Karras(), ShiftedSnr(Karras(1e-4, 1e4), 10.0)),
    *(Karras(1e-4, high) for high in (1e-3, 1e-1, 1e1, 1e3, 1e4, 1e5)),
]
TABLES: list[Callable[[int], Schedule]] = [
    *(LinearBeta, ScaledLinearBeta, Cosine),
    *(lambda T: ZeroTerminalSnr(LinearBeta(T)), lambda T: ShiftedSnr(Cosine(T), 8.0)),
]
WALKS = [(schedule, steps) for schedule in CONTINUOUS for steps in (1, 2, 3, 10, 50)] + [
    (table(T), steps) for table in TABLES for T in (10, 4000) for steps in (1, 2, 3, 10, 50) if steps <= T
]


def end_in(dtype: torch.dtype, sampler: Sampler, levels: Level) -> Tensor:
    """The samples of a sampler if all but the levels is of this dtype; noise and denoiser are the same for all."""
    law, draw = Gaussian(LAW.mean.to(dtype), LAW.std.to(dtype)), generator("cpu", 7)

    def noise() -> Tensor:
        return torch.randn(16, 2, generator=draw).to(dtype)

    return last(sampler(law, add_noise(law.mean + law.std * noise(), noise(), levels[0]), levels, noise)).x.double()


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@unchecked()
def test_a_sampler_ends_in_float32_where_it_does_in_float64(sampler: Sampler):
    for schedule, steps in WALKS:
        levels = sampling_levels(schedule, steps)
        single, double = (end_in(dtype, sampler, levels) for dtype in (torch.float32, torch.float64))
        # A step of Heun multiplies the rounding of two x0 by that by which sigma / alpha falls.
        fall = (levels.edm_sigma[:-2] / levels.edm_sigma[1:-1]).nan_to_num(posinf=0).max().item() if steps > 1 else 1
        tolerance = 1e-3 if isinstance(sampler, Heun) and fall > 100 else 1e-5
        assert (single - double).norm() < tolerance * double.norm(), (schedule, steps)


@pytest.mark.parametrize("schedule", [Karras(), RectifiedFlow()], ids=str)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_sampler_ends_in_the_data(sampler: Sampler, schedule: Schedule):
    points = torch.randn(6, 3, 2, 2, generator=generator("cpu", 5))
    draw = generator("cpu", 6)

    def noise() -> Tensor:
        return torch.randn(9, 3, 2, 2, generator=draw)

    levels = sampling_levels(schedule, 60)
    ends = last(sampler(EmpiricalData(points), levels[0].sigma * noise(), levels, noise)).x
    nearest = (ends[:, None] - points[None]).flatten(2).norm(dim=2).min(1)
    assert ends.dtype == torch.float32
    assert nearest.values.max() < 1e-3
    assert len(nearest.indices.unique()) > 1


class Counted:
    """A denoiser that counts its evaluations."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Batch, level: Level) -> Batch:
        self.calls += 1
        return LAW(x, level)


@pytest.mark.parametrize("member", DETERMINISTIC + STOCHASTIC, ids=str)
def test_each_step_takes_the_evaluations_that_it_says(member: Member):
    denoise, levels = Counted(), sampling_levels(Karras(), 10)
    counts = []
    for _ in member.sampler(denoise, torch.randn(2, 2), levels, lambda: torch.randn(2, 2)):
        counts.append(denoise.calls)
        denoise.calls = 0
    assert counts == [member.evaluations] * 9 + [1]


def test_ancestral_sampling_is_ddim_with_all_of_its_noise():
    levels = sampling_levels(Cosine(), 20)
    x = torch.randn(3, 2, dtype=torch.float64)
    draws = [generator("cpu", 4) for _ in range(3)]
    ends = [
        last(sampler(LAW, x, levels, lambda draw=draw: torch.randn(3, 2, dtype=torch.float64, generator=draw))).x
        for sampler, draw in zip((Ancestral("small"), Ddim(1.0), DpmSolverPP(1, sde=True)), draws, strict=True)
    ]
    assert_close(ends[1], ends[0])
    assert_close(ends[2], ends[0])


@pytest.mark.parametrize("sampler", [DpmSolverPP(3), UniPC(3), Deis(4)], ids=str)
def test_what_remembers_ends_with_the_last_guess_alone(sampler: Sampler):
    """A long last step, as from sigma 0.05 among many, would take a polynomial far from where it was seen."""
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    *_, last = sampler(swinging, x, sampling_levels(Karras(sigma_min=0.05), 50), lambda: x)
    assert_close(last.x, last.x0)


def test_a_long_last_step_is_of_low_order():
    levels = sampling_levels(Karras(sigma_min=0.05), 6)
    assert second_order_final(levels, 4) == [1, 2, 3, 4, 4, 2]
    assert second_order_final(levels[:-1], 4) == [1, 2, 3, 4, 4]
    assert second_order_final(levels, 1) == [1] * 6


def swinging(x: Tensor, level: Level) -> Tensor:
    """A guess that depends on the level alone, and not smoothly."""
    return torch.full_like(x, (1000 * level.sigma).sin().item())


@pytest.mark.parametrize("sampler", [DpmSolverPP(1), Deis(1), Lms(1)], ids=str)
def test_every_solver_of_order_one_is_ddim(sampler: Sampler):
    levels, x = sampling_levels(RectifiedFlow(), 7), torch.randn(3, 2, dtype=torch.float64)
    assert_close(last(sampler(LAW, x, levels, silent)).x, last(Ddim()(LAW, x, levels, silent)).x)


def test_heun_with_churn_is_algorithm_2_of_the_paper():
    """As printed in Karras et al. (2022)."""
    N, S_churn, S_tmin, S_tmax, S_noise = 18, 30.0, 0.05, 50.0, 1.003
    levels, points = (
        sampling_levels(Karras(), N),
        EmpiricalData(torch.randn(5, 2, dtype=torch.float64, generator=generator("cpu", 1))),
    )
    t, (first, *noises) = levels.sigma, torch.randn(20, 3, 2, dtype=torch.float64, generator=generator("cpu", 2))

    def D(x: Tensor, sigma: Tensor) -> Tensor:
        return points(x, Level(torch.ones_like(sigma), sigma))

    x, fresh, again = t[0] * first, iter(noises), iter(noises)
    for i, step in enumerate(Heun(S_churn, S_tmin, S_tmax, S_noise)(points, x, levels, lambda: next(again))):
        gamma = min(S_churn / N, math.sqrt(2) - 1) if S_tmin <= t[i] <= S_tmax else 0.0
        t_hat = t[i] + gamma * t[i]
        x_hat = x + (t_hat**2 - t[i] ** 2).sqrt() * S_noise * next(fresh) if gamma else x
        d = (x_hat - D(x_hat, t_hat)) / t_hat
        x = x_hat + (t[i + 1] - t_hat) * d
        if t[i + 1] != 0:
            x = x_hat + (t[i + 1] - t_hat) * (d + (x - D(x, t[i + 1])) / t[i + 1]) / 2
        assert_close(step.x, x, rtol=1e-9, atol=1e-9)
