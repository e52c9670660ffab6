"""EMAs of a fixed half-life and of power functions, and the reconstruction of an EMA after training."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from limpid.optim.ema import (
    Ema,
    PowerFunctionEma,
    linear_combination,
    solve_posthoc_coefficients,
    std_to_exp,
    update_ema,
)
from limpid.runtime.rng import generator

STEPS, BATCH = 2_000, 8


@pytest.mark.parametrize("std", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_a_power_function_ema_has_the_requested_standard_deviation(std: float):
    s = (np.arange(400_000) + 0.5) / 400_000
    profile = s ** std_to_exp(std)
    profile /= profile.sum()
    mean = (profile * s).sum()
    assert np.sqrt((profile * (s - mean) ** 2).sum()) == pytest.approx(std, rel=1e-3)


def test_a_power_function_ema_weighs_the_past_by_its_profile():
    ema = torch.zeros(1, dtype=torch.float64)
    history = torch.randn(STEPS, 1, dtype=torch.float64, generator=generator("cpu", 0))
    for step, weights in enumerate(history, start=1):
        update_ema([ema], [weights], PowerFunctionEma(0.1).decay(step * BATCH, BATCH))
    s = (torch.arange(STEPS, dtype=torch.float64) + 0.5) / STEPS
    profile = s ** std_to_exp(0.1)
    assert_close(ema, (profile / profile.sum()) @ history, rtol=0, atol=1e-3 * history.std().item())


def tracked_emas(
    history: torch.Tensor, times: int
) -> tuple[list[tuple[float, float]], list[dict[str, torch.Tensor]], torch.Tensor]:
    """The times and lengths of two EMAs that were saved several times, their weights, and a third EMA at the end."""
    lengths, saved, names = (0.05, 0.1), [], []
    emas = [torch.zeros(3, dtype=torch.float64) for _ in (*lengths, 0.15)]
    for step, weights in enumerate(history, start=1):
        for ema, std in zip(emas, (*lengths, 0.15), strict=True):
            update_ema([ema], [weights], PowerFunctionEma(std).decay(step * BATCH, BATCH))
        if step % (STEPS // times) == 0:
            names += [(float(step * BATCH), std) for std in lengths]
            saved += [{"w": ema.clone()} for ema in emas[:2]]
    return names, saved, emas[2]


def test_an_ema_that_was_saved_is_reconstructed_exactly():
    history = torch.randn(STEPS, 3, dtype=torch.float64, generator=generator("cpu", 1)).cumsum(0)
    names, saved, _ = tracked_emas(history, 16)
    coefficients = solve_posthoc_coefficients(names, (STEPS * BATCH, 0.1))
    assert_close(linear_combination(saved, coefficients)["w"], saved[-1]["w"], rtol=1e-8, atol=1e-8)
    assert coefficients.sum() == pytest.approx(1)


@pytest.mark.parametrize("start", [0.0, 1e4], ids=["from zero", "about a constant"])
@pytest.mark.parametrize(("times", "tolerance"), [(10, 1e-2), (40, 1e-3)])
def test_a_post_hoc_ema_equals_the_ema_that_had_been_tracked_in_training(times: int, tolerance: float, start: float):
    history = start + torch.randn(STEPS, 3, dtype=torch.float64, generator=generator("cpu", 1)).cumsum(0)
    names, saved, tracked = tracked_emas(history, times)
    reconstructed = linear_combination(saved, solve_posthoc_coefficients(names, (STEPS * BATCH, 0.15)))["w"]
    # Least squares over more EMAs has a smaller error, which is compared with the distance between two saved EMAs.
    assert (reconstructed - tracked).abs().max() < tolerance * (saved[-1]["w"] - saved[-2]["w"]).abs().max()


@pytest.mark.parametrize("std", [0.01, 0.07, 0.15, 0.25])
@pytest.mark.parametrize("times", [1, 2, 5, 20])
def test_the_post_hoc_ema_of_constant_weights_is_those_weights(times: int, std: float):
    names = [(i * STEPS * BATCH / times, length) for i in range(1, times + 1) for length in (0.05, 0.1)]
    coefficients = solve_posthoc_coefficients(names, (STEPS * BATCH, std))
    constant = {"w": torch.full((3,), 5.0, dtype=torch.float64)}
    assert_close(linear_combination([constant] * len(names), coefficients)["w"], constant["w"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("std", [0.0, 0.3, -1.0])
def test_a_standard_deviation_that_no_power_function_has_is_refused(std: float):
    with pytest.raises(ValueError, match=r"between 0 and 0\.288"):
        std_to_exp(std)


def test_a_half_life_of_887_000_images_is_the_ema_of_ddpm():
    assert Ema(halflife=887_000.0, rampup_ratio=0).decay(10**9, 128) == pytest.approx(0.9999, abs=1e-7)


def test_an_ema_halves_the_old_weights_in_a_half_life():
    ema, weights = [torch.ones(1)], [torch.zeros(1)]
    for step in range(10):
        update_ema(ema, weights, Ema(halflife=640.0, rampup_ratio=0).decay(64 * (step + 1), 64))
    assert ema[0].item() == pytest.approx(0.5)


def test_with_ramp_up_an_ema_soon_forgets_the_initial_weights():
    ema, weights, ddpm = [torch.ones(1)], [torch.zeros(1)], Ema(halflife=887_000.0)
    for step in range(100):
        update_ema(ema, weights, ddpm.decay(128 * (step + 1), 128))
    assert ema[0].item() < 1e-6
