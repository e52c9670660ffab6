"""Precision, recall, density and coverage agree with their definitions, and with known distributions."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.metrics.chunks import COLUMNS
from limpid.metrics.prdc import Prdc, expected_coverage, prdc, prdc_for, radii


def normal(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * scale + shift


def values(found: Prdc) -> list[float]:
    return [one.value for one in found]


def by_hand(real: Tensor, fake: Tensor, k: int) -> list[float]:
    """Kynkaanniemi et al. (2019), eq. 1 and 2, and Naeem et al. (2020), eq. 3 and 4, on all distances at once."""
    real, fake = real.double(), fake.double()
    reach_real, reach_fake = (torch.cdist(rows, rows).kthvalue(k + 1).values for rows in (real, fake))
    apart = torch.cdist(real, fake)
    precision = (apart <= reach_real[:, None]).any(0).double().mean()
    recall = (apart <= reach_fake).any(1).double().mean()
    density = (apart <= reach_real[:, None]).double().sum(0).mean() / k
    coverage = (apart.min(1).values <= reach_real).double().mean()
    return [value.item() for value in (precision, recall, density, coverage)]


@pytest.mark.parametrize(("n", "m", "d", "k"), [(60, 50, 3, 1), (60, 90, 5, 4), (COLUMNS + 20, 1_100, 4, 3)])
def test_all_four_agree_with_their_definitions(n, m, d, k):
    real, fake = normal(n, d, 0), normal(m, d, 1, 0.5, 0.8)
    assert_close(values(prdc(real, fake, k)), by_hand(real, fake, k), rtol=1e-9, atol=0)


def test_radii_reach_to_the_kth_other_row():
    rows = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert radii(rows, (2, 1)).tolist() == [[3, 2, 3, 6], [1, 1, 2, 4]]


@pytest.mark.parametrize("shift", [0.0, 100.0])
@pytest.mark.parametrize(("d", "k"), [(5, 3), (64, 3), (64, 5)])
def test_a_set_against_itself_has_density_1_and_one_kth(d, k, shift):
    """Each row is in its own ball, and in those of the rows whose k nearest it is among: k on average, of which one is
    on the edge of the ball."""
    real = normal(400, d, 0, shift)
    precision, recall, density, coverage = values(prdc(real, real, k))
    assert precision == recall == coverage == 1
    assert density == pytest.approx((k + 1) / k, abs=1e-12)


def test_a_row_on_the_boundary_of_a_ball_is_inside():
    """Rows on a grid have few different distances, so nearly all balls have rows on their boundary."""
    side = torch.arange(12.0)
    real = torch.cartesian_prod(side, side)
    fake = real[torch.randperm(144)[:100]] + torch.tensor([1.0, 0.0])
    assert values(prdc(real, fake, 3)) == by_hand(real, fake, 3)
    assert values(prdc(real / 8 + 50, fake / 8 + 50, 3)) == by_hand(real, fake, 3)


def test_a_row_within_rounding_of_a_boundary_is_decided_by_its_exact_distance():
    """Far from the centre of the rows, the error of the matrix product exceeds the distance of the two fake rows from
    the boundary."""
    real = torch.tensor([[1000.0, 0.0], [1001.0, 0.0], [-1000.0, 0.0], [-1001.0, 0.0]])
    fake = torch.tensor([[999.0, 0.0], [998.9999, 0.0], [5.0, 1.0], [5.0, 0.0]])
    assert prdc(real, fake, 1).precision.value == 1 / 4
    assert prdc(real, fake, 1).density.value == 1 / 4


def test_several_neighbours_at_once_are_those_one_by_one():
    real, fake = normal(300, 6, 0), normal(200, 6, 1, 0.3)
    assert prdc_for(real, fake, (3, 5, 1)) == [prdc(real, fake, k) for k in (3, 5, 1)]


def test_sets_far_apart_share_nothing():
    assert values(prdc(normal(100, 4, 0), normal(100, 4, 1, 50.0), 3)) == [0, 0, 0, 0]


def test_copies_of_one_image_have_precision_1_and_nearly_no_recall_or_coverage():
    real = normal(500, 4, 0)
    fake = real[real.norm(dim=1).argmin()].repeat(400, 1)
    precision, recall, density, coverage = values(prdc(real, fake, 3))
    assert precision == 1
    assert recall == pytest.approx(1 / 500)
    assert density > 1
    assert coverage < 0.1


def test_fakes_of_one_of_two_modes_recall_and_cover_half():
    real = torch.cat([normal(300, 4, 0), normal(300, 4, 1, 30.0)])
    precision, recall, density, coverage = values(prdc(real, normal(600, 4, 2), 3))
    assert precision > 0.8
    assert density == pytest.approx(1, abs=0.2)
    assert recall == pytest.approx(0.45, abs=0.05)
    assert coverage == pytest.approx(expected_coverage(300, 600, 3) / 2, abs=0.05)


@pytest.mark.parametrize(("n", "m", "k"), [(400, 400, 3), (300, 600, 5), (500, 200, 1)])
def test_equal_distributions_have_density_1_and_the_coverage_of_the_closed_form(n, m, k):
    """Means of 40 runs within four of their standard errors, for any distribution, as only ranks matter."""
    runs = [prdc(normal(n, 6, seed), normal(m, 6, seed + 1_000), k) for seed in range(40)]
    for name, expected in (("density", 1.0), ("coverage", expected_coverage(n, m, k))):
        found = torch.tensor([getattr(run, name).value for run in runs])
        assert abs(found.mean() - expected) < 4 * found.std() / math.sqrt(40)


def test_the_expected_coverage_of_many_is_1_less_a_half_to_the_kth():
    assert expected_coverage(10**7, 10**7, 5) == pytest.approx(1 - 2**-5, abs=1e-6)
    assert expected_coverage(10**7, 3 * 10**7, 2) == pytest.approx(1 - 4**-2, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("precision", 0.75, 1.35), ("density", 0.75, 1.35), ("recall", 0.6, 1.25), ("coverage", 0.6, 1.25)],
)
def test_errors_are_the_spread_between_fake_sets_or_up_to_a_third_smaller(name, low, high, runs):
    spread = torch.tensor([getattr(run, name).value for run in runs]).std()
    claimed = torch.tensor([getattr(run, name).error for run in runs]).mean()
    # The standard deviation of 60 is itself known to 9%: low and high leave three times that.
    assert low < claimed / spread < high


@pytest.fixture(scope="module")
def runs() -> list[Prdc]:
    real = normal(400, 6, 0)
    return [prdc(real, normal(400, 6, seed, 0.3, 0.8), 3) for seed in range(1, 61)]


@pytest.mark.parametrize("k", [0, 20])
def test_as_many_neighbours_as_rows_are_refused(k):
    with pytest.raises(ValueError, match=f"{k} neighbours among 30 and 20 rows"):
        prdc(normal(30, 2, 0), normal(20, 2, 1), k)
