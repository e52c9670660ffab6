import math
from types import ModuleType
from typing import get_args
from xml.etree import ElementTree

import pytest
import torch
from torch.testing import assert_close

from limpid.diffusion.schedules import (
    Cosine,
    Discrete,
    Karras,
    Laplace,
    LinearBeta,
    LogitNormal,
    LogNormal,
    RectifiedFlow,
    ScaledLinearBeta,
    Schedule,
    ShiftedSnr,
    Sigmoid,
    Spacing,
    VpSde,
    ZeroTerminalSnr,
    alpha_bars,
    extended_to_sigma,
    num_timesteps,
    sampling_levels,
    step_betas,
    stratified,
)
from limpid.runtime.rng import generator

CPU = torch.device("cpu")
SCHEDULES = [
    *(
        LinearBeta(),
        LinearBeta(T=10),
        ScaledLinearBeta(),
        Cosine(),
        Cosine(T=50),
        ZeroTerminalSnr(),
        ZeroTerminalSnr(Cosine()),
    ),
    *(VpSde(), Sigmoid(), RectifiedFlow(), RectifiedFlow(shift=3.0), LogitNormal(), LogNormal(), Laplace(), Karras()),
    *(ShiftedSnr(), ShiftedSnr(LinearBeta(), 0.5)),
]
SAMPLED = [schedule for schedule in SCHEDULES if not isinstance(schedule, LogNormal)]


def test_every_kind_of_schedule_is_tested_here():
    assert {type(schedule) for schedule in SCHEDULES} == set(get_args(Schedule))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_noise_grows_with_u(schedule: Schedule):
    levels = schedule(torch.linspace(0.01, 0.99, 400, dtype=torch.float64))
    assert (levels.logsnr.diff() <= 0).all()
    assert (levels.logsnr[0] - levels.logsnr[-1]) > 1


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_notebook_shows_a_schedule_as_two_curves(schedule: Schedule):
    page = ElementTree.fromstring(schedule._repr_html_())
    alpha, sigma = (
        torch.tensor([[float(number) for number in point.split(",")] for point in curve.attrib["points"].split()])
        for curve in page.iter("{http://www.w3.org/2000/svg}polyline")
    )
    assert page[0].text == str(schedule)
    assert (alpha[:, 1].diff() >= 0).all(), "alpha falls; y counts from the top"
    assert (sigma[:, 1].diff() <= 0).all()


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


def test_the_continuous_beta_is_the_limit_of_the_table():
    u = torch.linspace(0, 1, 11, dtype=torch.float64)
    table = LinearBeta(T=100_000, beta_start=0.1 / 100_000, beta_end=20 / 100_000)
    assert_close(VpSde()(u).alpha, table(u).alpha, rtol=1e-3, atol=0)


def test_the_straight_path_shifts_as_the_ratio():
    u = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert_close(RectifiedFlow(shift=3.0)(u).edm_sigma, 3 * RectifiedFlow()(u).edm_sigma)
    assert_close(
        RectifiedFlow(shift=3.0)(u).alpha + RectifiedFlow(shift=3.0)(u).sigma, torch.ones(9, dtype=torch.float64)
    )


def test_a_shifted_schedule_has_the_ratio_multiplied():
    u = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert_close(ShiftedSnr(Cosine(), 4.0)(u).edm_sigma, 4 * Cosine()(u).edm_sigma)


@pytest.mark.parametrize("schedule", [Karras(), ShiftedSnr(Karras(), 2.0)])
def test_a_sampler_can_go_down_further_than_the_schedule_does(schedule: Schedule):
    assert sampling_levels(extended_to_sigma(schedule, 1e-4), 4).edm_sigma[-2].item() == pytest.approx(1e-4)
    assert extended_to_sigma(schedule, 1.0) == schedule


def test_the_sigmoid_runs_from_no_noise_to_nothing_else():
    ends = Sigmoid()(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)).alpha.square()
    assert_close(ends, torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64))


def test_laplace_and_logit_normal_have_their_laws():
    u = stratified(20_000, generator("cpu", 2))
    laplace = Laplace(mean=0.3, scale=0.5)(u).logsnr
    assert laplace.median().item() == pytest.approx(0.3, abs=1e-3)
    assert (laplace - 0.3).abs().mean().item() == pytest.approx(0.5, abs=2e-3)
    logit = LogitNormal(0.2, 0.8)(u).edm_sigma.log()
    assert logit.mean().item() == pytest.approx(0.2, abs=1e-3)
    assert logit.std().item() == pytest.approx(0.8, abs=2e-3)


def test_karras_levels_are_those_of_the_paper():
    n, low, high = 18, 0.002 ** (1 / 7), 80 ** (1 / 7)
    expected = [(high + i / (n - 1) * (low - high)) ** 7 for i in range(n)] + [0.0]
    levels = sampling_levels(Karras(), n)
    assert_close(levels.sigma, torch.tensor(expected, dtype=torch.float64))
    assert levels.alpha.tolist() == [1.0] * (n + 1)


def test_the_log_normal_is_normal_in_the_logarithm():
    logs = LogNormal(-1.2, 1.2)(stratified(20_000, generator("cpu", 0))).sigma.log()
    assert logs.mean().item() == pytest.approx(-1.2, abs=1e-3)
    assert logs.std().item() == pytest.approx(1.2, abs=2e-3)
    below = (logs < -1.2 - 1.2).double().mean().item()
    assert below == pytest.approx((1 + math.erf(-1 / math.sqrt(2))) / 2, abs=1e-3)


def test_stratified_uniforms_fall_one_into_each_part():
    u = stratified(1000, generator("cpu", 1))
    assert ((u * 1000).long() == torch.arange(1000)).all()
    assert u.min() > 0
    assert u.max() < 1


@pytest.mark.parametrize("schedule", SAMPLED, ids=str)
@pytest.mark.parametrize("steps", [1, 2, 7, 10])
def test_sampling_levels_fall_from_the_noisiest_level_to_sigma_0(schedule: Schedule, steps: int):
    levels = sampling_levels(schedule, steps)
    top = schedule(torch.ones(1, dtype=torch.float64))
    assert len(levels) == steps + 1
    assert levels.sigma[0] == top.sigma[0]
    assert (levels.alpha[-1].item(), levels.sigma[-1].item()) == (1, 0)
    assert (levels.logsnr.diff() > 0).all()


@pytest.mark.parametrize(
    ("schedule", "steps", "message"),
    [
        (LinearBeta(T=10), 11, "fewer than 11 different levels"),
        (LogNormal(), 5, "has infinite noise at u = 1"),
        (Karras(), 0, "sampling steps 0: expected at least 1"),
    ],
)
def test_sampling_levels_that_cannot_exist_are_refused(schedule: Schedule, steps: int, message: str):
    with pytest.raises(ValueError, match=message):
        sampling_levels(schedule, steps)


@pytest.mark.parametrize("schedule", [LinearBeta(), ScaledLinearBeta(50), Cosine(), ZeroTerminalSnr()])
def test_the_betas_between_the_levels_of_a_discrete_schedule_are_its_betas(schedule: Discrete):
    T = num_timesteps(schedule)
    levels = schedule(torch.arange(T + 1, dtype=torch.float64) / T)
    assert_close(step_betas(levels), schedule.betas(), rtol=1e-9, atol=1e-12)


def test_vp_sde_is_the_limit_of_linear_betas_and_has_no_timesteps():
    levels = VpSde()(torch.arange(1001, dtype=torch.float64) / 1000)
    assert_close(step_betas(levels), LinearBeta().betas(), rtol=0.1, atol=1e-5)
    assert num_timesteps(VpSde()) == 0
