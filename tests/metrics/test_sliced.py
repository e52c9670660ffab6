"""Sliced Wasserstein distances are those of the closed forms, and in one dimension SciPy's."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from limpid.metrics.sliced import DIRECTIONS_PER_CHUNK, plan, sliced_wasserstein

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=generator(seed), dtype=F64)


def test_a_set_is_at_distance_0_from_itself_in_any_order():
    x = normal(300, 5)
    assert sliced_wasserstein(x, x.flip(0), generator()).value == 0


def test_the_distance_of_a_shift_by_m_is_the_square_of_m_over_d():
    """Along each axis all rows move by m.axis, whose square is |m|^2 / d on average over the sphere."""
    x, m = normal(300, 6), torch.arange(6, dtype=F64)
    found = sliced_wasserstein(x, x + m, generator(), directions=4_000)
    expected = m.square().sum().item() / 6
    assert abs(found.value - expected) < 4 * found.error
    assert found.error < 0.03 * expected
    # (m.axis)^2 = |m|^2 cos^2, whose variance is 2 (d - 1) / (d^2 (d + 2)) of |m|^4.
    assert found.error == pytest.approx(55 * math.sqrt(2 * 5 / (36 * 8) / 4_000), rel=0.1)


def test_the_distance_of_gaussians_is_that_of_means_and_standard_deviations_along_each_axis():
    """W2^2 of N(0, s^2) and N(m, t^2) is m^2 + (s - t)^2."""
    quantiles = torch.special.ndtri((torch.arange(4_000, dtype=F64) + 0.5) / 4_000)[:, None]
    found = sliced_wasserstein(quantiles, 0.5 + 3 * quantiles.flip(0), generator(), directions=2)
    assert found.value == pytest.approx(0.25 + 4, rel=2e-3)  # the tails beyond 1 / 8,000 are cut
    x, y = normal(20_000, 4), 1.5 * normal(20_000, 4, seed=1)
    assert sliced_wasserstein(x, y, generator(), 64).value == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 7), (6, 9), (1, 3), (1_000, 999)])
def test_sets_of_unequal_size_are_matched_by_their_quantiles(n, m):
    """On a line, where every direction is the same, against the integral of both quantile functions on a fine grid."""
    x, y = normal(n, 1), normal(m, 1, seed=1)
    fine = (torch.arange(n * m, dtype=F64) + 0.5) / (n * m)
    at_x, at_y = (rows[:, 0].sort().values[(fine * len(rows)).long()] for rows in (x, y))
    expected = (at_x - at_y).square().mean().item()
    assert sliced_wasserstein(x, y, generator(), 2).value == pytest.approx(expected, rel=1e-9)


def test_the_transport_plan_costs_as_much_as_scipys():
    """With the first power of the distance, as in SciPy, instead of the second."""
    x, y = normal(40, 1)[:, 0].sort().values, normal(25, 1, seed=1)[:, 0].sort().values
    width, of_x, of_y = plan(40, 25)
    assert width.sum() == pytest.approx(1)
    found = (width * (x[of_x] - y[of_y]).abs()).sum().item()
    assert found == pytest.approx(stats.wasserstein_distance(x.numpy(), y.numpy()))


def test_repeating_all_rows_equally_often_changes_nothing():
    x, y = normal(30, 3), normal(20, 3, seed=1)
    again = sliced_wasserstein(x.repeat(3, 1), y.repeat(2, 1), generator())
    assert again.value == pytest.approx(sliced_wasserstein(x, y, generator()).value, rel=1e-9)


def test_the_distance_is_the_same_both_ways_and_for_the_same_generator():
    x, y = normal(30, 3), normal(20, 3, seed=1)
    one = sliced_wasserstein(x, y, generator(), DIRECTIONS_PER_CHUNK + 3)
    assert one == sliced_wasserstein(x, y, generator(), DIRECTIONS_PER_CHUNK + 3)
    assert one.value == pytest.approx(sliced_wasserstein(y, x, generator(), DIRECTIONS_PER_CHUNK + 3).value, rel=1e-12)
    assert one != sliced_wasserstein(x, y, generator(1), DIRECTIONS_PER_CHUNK + 3)


def test_uint8_pixels_give_the_distance_of_their_floats():
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (50, 12), dtype=np.uint8))
    found = sliced_wasserstein(x, x + 50, generator(), 2_000)
    assert abs(found.value - 50**2) < 4 * found.error


@pytest.mark.parametrize(("n", "directions"), [(5, 1), (0, 10)])
def test_empty_sets_and_a_single_direction_are_refused(n, directions):
    with pytest.raises(ValueError, match=f"{directions} directions, {n} and 5 rows"):
        sliced_wasserstein(torch.randn(n, 2), torch.randn(5, 2), generator(), directions)
