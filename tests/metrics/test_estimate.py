"""Standard errors are those of known laws, and intervals hold what they claim as often as they claim."""

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from limpid.metrics.accuracy import accuracy
from limpid.metrics.estimate import Estimate, difference, jackknife, mean_of, proportion, t_quantile, wilson_interval

F64 = torch.float64


def draws(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=F64)


@pytest.mark.parametrize(("freedom", "tolerance"), [(3, 2e-3), (4, 4e-4), (8, 2e-5), (19, 1e-6), (7.3, 2e-5)])
def test_student_is_scipys(freedom, tolerance):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=tolerance)


def test_students_law_with_infinitely_many_degrees_of_freedom_is_the_normal_law():
    assert t_quantile(math.inf) == pytest.approx(stats.norm.ppf(0.975), abs=1e-15)
    assert Estimate(1.0, 2.0).interval == pytest.approx((1 - 2 * 1.96, 1 + 2 * 1.96), abs=1e-4)


def test_a_means_error_is_that_of_scipy():
    values = draws(50)
    found = mean_of(values.float())
    assert found.value == pytest.approx(values.mean().item(), abs=1e-7)
    assert found.error == pytest.approx(stats.sem(values.numpy()), rel=1e-6)
    assert found.dof == 49


def test_95_of_100_intervals_of_five_normals_cover_their_mean():
    rows = draws(4_000, 5) + 3
    held = [low < 3 < high for low, high in (mean_of(row).interval for row in rows)]
    # Four standard errors of a share of 0.95 among 4,000.
    assert sum(held) / len(held) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4_000))


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """An identity: for blocks of one value each, without any approximation."""
    values = draws(30)
    assert jackknife((values.sum() - values) / 29) == pytest.approx(mean_of(values).error, rel=1e-12)


def test_the_jackknife_of_a_variance_meets_the_known_error():
    """Of n normals the variance scatters by sqrt(2 / (n - 1)): the root mean square of 200 guesses from 40 blocks."""
    rows = draws(200, 40, 10)
    guesses = []
    for row in rows:
        rest = torch.stack([torch.cat([row[:i], row[i + 1 :]]).var() for i in range(40)])
        guesses.append(jackknife(rest) ** 2)
    # A guess of a variance by 40 blocks is off by sqrt(2 / 39), so the mean of 200 by 1.6%, its root by 0.8%.
    assert math.sqrt(sum(guesses) / 200) == pytest.approx(math.sqrt(2 / 399), rel=4 * 0.008 + 0.01)


def test_a_proportion_has_the_binomial_error_which_is_never_zero():
    hits = torch.arange(1000) < 300
    assert proportion(hits).value == 0.3
    assert proportion(hits).error == pytest.approx(math.sqrt(0.3 * 0.7 / 1000), rel=3e-3)
    none = proportion(torch.zeros(10_000, dtype=torch.bool))
    assert none.value == 0
    # Of a share of 1 in 2,500, none of 10,000 are hit in 2% of all cases: the interval of those ends below.
    assert 1 / 10_000 < none.interval[1] < 1 / 2_500


@pytest.mark.parametrize("hits", [0, 1, 7, 30, 59, 60])
def test_the_interval_of_a_proportion_is_scipys_wilson_interval_and_within_0_to_1(hits: int):
    low, high = proportion(torch.arange(60) < hits).interval
    expected = stats.binomtest(hits, 60).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= hits / 60 <= high <= 1


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
def test_intervals_of_proportions_cover_them_as_often_as_they_claim(share):
    n = 2_000
    ends = [proportion(torch.arange(n) < count).interval for count in range(n + 1)]
    held = sum(stats.binom.pmf(count, n, share) for count, (low, high) in enumerate(ends) if low <= share <= high)
    assert held > 0.93


def test_a_difference_has_welchs_degrees_of_freedom():
    a, b = draws(12), 2 * draws(30).flip(0) + 1
    found = difference(mean_of(a), mean_of(b))
    welch: Any = stats.ttest_ind(a.numpy(), b.numpy(), equal_var=False)
    assert found.value / found.error == pytest.approx(welch.statistic)
    assert found.dof == pytest.approx(welch.df)
    assert found.interval == pytest.approx(tuple(welch.confidence_interval(0.95)), rel=1e-4)


def test_a_difference_of_exact_numbers_has_no_error():
    assert difference(Estimate(3.0, 0.0, 5), Estimate(1.0, 0.0)) == Estimate(2.0, 0.0, math.inf)


def test_accuracy_is_the_share_of_highest_logits_that_are_the_labels():
    logits = torch.eye(4).repeat(25, 1)
    labels = torch.arange(4).repeat(25)
    labels[:20] = 3
    assert_close(accuracy(logits, labels).value, 0.85)
    assert accuracy(logits, labels) == proportion(torch.arange(100) < 85)


@pytest.mark.parametrize(
    ("measure", "values"), [(mean_of, torch.ones(1)), (proportion, torch.ones(0) > 0), (jackknife, torch.ones(1))]
)
def test_too_few_values_have_no_error(measure, values):
    with pytest.raises(ValueError, match="at least"):
        measure(values)


@pytest.mark.parametrize("share", [-0.5, 1.5, math.inf])
def test_a_proportion_outside_0_to_1_is_refused(share: float):
    with pytest.raises(ValueError, match=rf"^{share:g} of 1,000 trials: a proportion is expected to be within 0 and 1"):
        wilson_interval(share, 1_000)
