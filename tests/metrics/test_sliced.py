"""Sliced Wasserstein distances are those of the closed forms, and along one line SciPy's."""

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


def drawn(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=generator(seed), dtype=F64)


def test_a_set_is_nowhere_from_itself_in_any_order():
    x = drawn(300, 5)
    assert sliced_wasserstein(x, x.flip(0), generator()).value == 0


def test_a_shift_by_m_is_the_square_of_m_over_d_apart():
    """Along each axis the whole set moves by m.axis, whose square is |m|^2 / d on average over the sphere."""
    x, m = drawn(300, 6), torch.arange(6, dtype=F64)
    found = sliced_wasserstein(x, x + m, generator(), directions=4_000)
    expected = m.square().sum().item() / 6
    assert abs(found.value - expected) < 4 * found.error
    assert found.error < 0.03 * expected
    # (m.axis)^2 = |m|^2 cos^2, whose variance is 2 (d - 1) / (d^2 (d + 2)) of |m|^4.
    assert found.error == pytest.approx(55 * math.sqrt(2 * 5 / (36 * 8) / 4_000), rel=0.1)


def test_two_gaussians_are_apart_by_means_and_deviations_along_each_axis():
    """W2^2 of N(0, s^2) and N(m, t^2) is m^2 + (s - t)^2; of equal quantiles, nothing is left to chance."""
    quantiles = torch.special.ndtri((torch.arange(4_000, dtype=F64) + 0.5) / 4_000)[:, None]
    found = sliced_wasserstein(quantiles, 0.5 + 3 * quantiles.flip(0), generator(), directions=2)
    assert found.value == pytest.approx(0.25 + 4, rel=2e-3)  # the tails beyond 1 / 8,000 are cut
    x, y = drawn(20_000, 4), 1.5 * drawn(20_000, 4, seed=1)
    assert sliced_wasserstein(x, y, generator(), 64).value == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (4, 7), (6, 9), (1, 3), (1_000, 999)])
def test_sets_of_unequal_size_are_matched_by_their_quantiles(n, m):
    """On a line, where every direction is the same, against the integral of both quantile functions on a fine grid."""
    x, y = drawn(n, 1), drawn(m, 1, seed=1)
    fine = (torch.arange(n * m, dtype=F64) + 0.5) / (n * m)
    at_x, at_y = (rows[:, 0].sort().values[(fine * len(rows)).long()] for rows in (x, y))
    expected = (at_x - at_y).square().mean().item()
    assert sliced_wasserstein(x, y, generator(), 2).value == pytest.approx(expected, rel=1e-9)


def test_theplan_moves_as_far_as_scipys():
    """Of the first power instead of the second, which SciPy has: its distance by our pieces and ranks."""
    x, y = drawn(40, 1)[:, 0].sort().values, drawn(25, 1, seed=1)[:, 0].sort().values
    width, of_x, of_y = plan(40, 25)
    assert width.sum() == pytest.approx(1)
    found = (width * (x[of_x] - y[of_y]).abs()).sum().item()
    assert found == pytest.approx(stats.wasserstein_distance(x.numpy(), y.numpy()))


def test_every_row_as_often_again_changes_nothing():
    x, y = drawn(30, 3), drawn(20, 3, seed=1)
    again = sliced_wasserstein(x.repeat(3, 1), y.repeat(2, 1), generator())
    assert again.value == pytest.approx(sliced_wasserstein(x, y, generator()).value, rel=1e-9)


def test_the_distance_is_the_same_both_ways_and_for_the_same_generator():
    x, y = drawn(30, 3), drawn(20, 3, seed=1)
    one = sliced_wasserstein(x, y, generator(), DIRECTIONS_PER_CHUNK + 3)
    assert one == sliced_wasserstein(x, y, generator(), DIRECTIONS_PER_CHUNK + 3)
    assert one.value == pytest.approx(sliced_wasserstein(y, x, generator(), DIRECTIONS_PER_CHUNK + 3).value, rel=1e-12)
    assert one != sliced_wasserstein(x, y, generator(1), DIRECTIONS_PER_CHUNK + 3)


def test_pixels_are_compared_as_they_are():
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (50, 12), dtype=np.uint8))
    found = sliced_wasserstein(x, x + 50, generator(), 2_000)
    assert abs(found.value - 50**2) < 4 * found.error


@pytest.mark.parametrize(("n", "directions"), [(5, 1), (0, 10)])
def test_nothing_to_compare_is_refused(n, directions):
    with pytest.raises(ValueError, match=f"{directions} directions, {n} and 5 rows"):
        sliced_wasserstein(torch.randn(n, 2), torch.randn(5, 2), generator(), directions)
