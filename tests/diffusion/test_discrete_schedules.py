"""Discrete schedules: their tables and spacings are those of the papers and of diffusers."""

from types import ModuleType

import pytest
import torch
from torch.testing import assert_close

from limpid.diffusion.schedules import (
    Cosine,
    Discrete,
    LinearBeta,
    RectifiedFlow,
    ScaledLinearBeta,
    ShiftedSnr,
    Spacing,
    ZeroTerminalSnr,
    alpha_bars,
    num_timesteps,
    sampling_levels,
    step_betas,
)

CPU = torch.device("cpu")


def test_the_table_is_the_product_of_one_minus_beta():
    expected, product = [1.0], 1.0
    for t in range(1000):
        product *= 1 - (1e-4 + (0.02 - 1e-4) * t / 999)
        expected.append(product)
    assert_close(
        alpha_bars(LinearBeta(), torch.float64, CPU), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("schedule", [LinearBeta(), LinearBeta(T=10), Cosine(T=333), ZeroTerminalSnr()], ids=str)
def test_a_grid_of_all_steps_meets_every_row_of_the_table(schedule: Discrete):
    table = alpha_bars(schedule, torch.float64, CPU)
    levels = sampling_levels(schedule, schedule.T)
    assert_close(levels.alpha, table.flip(0).sqrt(), rtol=0, atol=0)
    assert_close(levels.alpha.square() + levels.sigma.square(), torch.ones_like(table))


def test_the_tables_are_those_of_diffusers(diffusers):
    linear = diffusers.DDPMScheduler().alphas_cumprod.double()
    cosine = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.double()
    ends = {"beta_start": 0.00085, "beta_end": 0.012}
    scaled = diffusers.DDPMScheduler(beta_schedule="scaled_linear", **ends).alphas_cumprod.double()
    bent = diffusers.DDPMScheduler(rescale_betas_zero_snr=True).alphas_cumprod.double()
    assert_close(alpha_bars(ScaledLinearBeta(), torch.float64, CPU)[1:], scaled, rtol=2e-5, atol=1e-8)
    assert_close(alpha_bars(ZeroTerminalSnr(), torch.float64, CPU)[1:], bent, rtol=1e-4, atol=1e-7)
    assert_close(alpha_bars(LinearBeta(), torch.float64, CPU)[1:], linear, rtol=2e-5, atol=1e-8)
    assert_close(alpha_bars(Cosine(), torch.float64, CPU)[1:], cosine, rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("T", [7, 1000, 4000])
def test_every_timestep_is_exact_despite_the_rounding_of_u(T: int, dtype: torch.dtype):
    table = alpha_bars(LinearBeta(T=T), dtype, CPU)
    steps = torch.arange(T + 1, dtype=dtype)
    for u in (steps / T, steps * (1 / T), torch.linspace(0, 1, T + 1, dtype=dtype)):
        assert_close(LinearBeta(T=T)(u).alpha, table.sqrt(), rtol=0, atol=0)


def test_u_between_two_timesteps_is_the_noisier_one():
    levels, table = (
        LinearBeta(T=4)(torch.tensor([0.0, 0.01, 0.25, 0.26, 1.0])),
        alpha_bars(LinearBeta(T=4), torch.float32, CPU),
    )
    assert_close(levels.alpha.square(), table[[0, 1, 1, 2, 4]])


@pytest.mark.parametrize("T", [1000, 4000])
@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_the_spacings_are_those_of_diffusers_for_every_number_of_steps(spacing: Spacing, T: int, diffusers: ModuleType):
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=T, timestep_spacing=spacing)
    table = alpha_bars(LinearBeta(T), torch.float64, CPU)
    for steps in range(1, 1001):
        scheduler.set_timesteps(steps)
        reference = scheduler.timesteps[:steps] + 1  # numpy's arange runs on to 0 at some numbers, 61 for one
        levels = sampling_levels(LinearBeta(T), steps, spacing)
        assert levels.alpha.tolist() == [*table[reference].sqrt().tolist(), 1.0], steps
        assert levels.sigma[-1] == 0


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_a_shifted_table_is_cut_where_the_table_is(spacing: Spacing):
    assert_close(
        sampling_levels(ShiftedSnr(LinearBeta(), 3.0), 48, spacing).edm_sigma,
        3 * sampling_levels(LinearBeta(), 48, spacing).edm_sigma,
    )


def test_spacings_of_steps_are_refused_where_there_are_none():
    with pytest.raises(ValueError, match="leading spacing is for discrete schedules"):
        sampling_levels(RectifiedFlow(), 10, "leading")


def test_a_zero_terminal_table_ends_in_noise_alone():
    bent, straight = sampling_levels(ZeroTerminalSnr(), 1000), sampling_levels(LinearBeta(), 1000)
    assert (bent.alpha[0], bent.sigma[0]) == (0, 1)
    assert_close(bent.alpha[-2], straight.alpha[-2])


@pytest.mark.parametrize("schedule", [LinearBeta(), ScaledLinearBeta(50), Cosine(), ZeroTerminalSnr()])
def test_the_betas_between_the_levels_of_a_discrete_schedule_are_its_betas(schedule: Discrete):
    T = num_timesteps(schedule)
    levels = schedule(torch.arange(T + 1, dtype=torch.float64) / T)
    assert_close(step_betas(levels), schedule.betas(), rtol=1e-9, atol=1e-12)
