"""Schedules: each runs from clean to noise, has the law of its paper, and gives the levels that a sampler visits."""

import math
from typing import get_args
from xml.etree import ElementTree

import pytest
import torch
from torch.testing import assert_close

from limpid.diffusion.schedules import (
    Cosine,
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
    VpSde,
    ZeroTerminalSnr,
    extended_to_sigma,
    num_timesteps,
    sampling_levels,
    step_betas,
    stratified,
)
from limpid.runtime.rng import generator

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


def test_the_continuous_beta_is_the_limit_of_the_table():
    u = torch.linspace(0, 1, 11, dtype=torch.float64)
    table = LinearBeta(T=100_000, beta_start=0.1 / 100_000, beta_end=20 / 100_000)
    assert_close(VpSde()(u).alpha, table(u).alpha, rtol=1e-3, atol=0)


def test_the_shift_of_the_straight_path_multiplies_sigma_over_alpha():
    u = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert_close(RectifiedFlow(shift=3.0)(u).edm_sigma, 3 * RectifiedFlow()(u).edm_sigma)
    assert_close(
        RectifiedFlow(shift=3.0)(u).alpha + RectifiedFlow(shift=3.0)(u).sigma, torch.ones(9, dtype=torch.float64)
    )


def test_a_shift_multiplies_sigma_over_alpha():
    u = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    assert_close(ShiftedSnr(Cosine(), 4.0)(u).edm_sigma, 4 * Cosine()(u).edm_sigma)


@pytest.mark.parametrize("schedule", [Karras(), ShiftedSnr(Karras(), 2.0)])
def test_sampling_can_end_at_a_lower_level_than_the_schedule(schedule: Schedule):
    assert sampling_levels(extended_to_sigma(schedule, 1e-4), 4).edm_sigma[-2].item() == pytest.approx(1e-4)
    assert extended_to_sigma(schedule, 1.0) == schedule


def test_the_sigmoid_schedule_runs_from_no_noise_to_pure_noise():
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


def test_each_interval_holds_one_stratified_uniform():
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


def test_vp_sde_is_the_limit_of_linear_betas_and_has_no_timesteps():
    levels = VpSde()(torch.arange(1001, dtype=torch.float64) / 1000)
    assert_close(step_betas(levels), LinearBeta().betas(), rtol=0.1, atol=1e-5)
    assert num_timesteps(VpSde()) == 0
