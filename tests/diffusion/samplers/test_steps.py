"""Single steps, the last step and the number of network evaluations of each sampler."""

import math
from collections.abc import Callable

import pytest
import torch
from sampler_family import DETERMINISTIC, LAW, SAMPLERS, STOCHASTIC, Member, last, silent
from torch import Tensor
from torch.testing import assert_close
from typecheck import unchecked

from limpid.diffusion.level import Batch, Level, add_noise, eps_from
from limpid.diffusion.oracle import EmpiricalData, Gaussian
from limpid.diffusion.samplers import (
    Ancestral,
    Ddim,
    Deis,
    DpmSolverPP,
    Heun,
    Lms,
    Sampler,
    UniPC,
)
from limpid.diffusion.samplers.multistep import second_order_final
from limpid.diffusion.samplers.steps import eps_change, step_eps, step_x0
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


# Levels from sigma / alpha 1e5, and beyond, down to 1e-4; and the end of such a walk, begun at each of those between.
CONTINUOUS = [
    *(VpSde(), Sigmoid(), RectifiedFlow(), Karras(), ShiftedSnr(Karras(1e-4, 1e4), 10.0)),
    *(Karras(1e-4, high) for high in (1e-3, 1e-1, 1e1, 1e3, 1e4, 1e5)),
]
TABLES: list[Callable[[int], Schedule]] = [
    *(LinearBeta, ScaledLinearBeta, Cosine),
    *(lambda T: ZeroTerminalSnr(LinearBeta(T)), lambda T: ShiftedSnr(Cosine(T), 8.0)),
]
WALKS = [(schedule, steps) for schedule in CONTINUOUS for steps in (1, 2, 3, 30)] + [
    (table(T), steps) for table in TABLES for T, counts in ((10, (1, 2, 10)), (4000, (1, 3, 30))) for steps in counts
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
def test_each_step_takes_its_stated_number_of_network_evaluations(member: Member):
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
def test_the_last_step_of_a_multistep_sampler_is_of_first_order(sampler: Sampler):
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
