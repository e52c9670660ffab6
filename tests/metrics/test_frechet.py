"""Frechet distances are those of the closed form and of other programs, and their error bars cover the truth."""

import math

import numpy as np
import pytest
import torch
from gaussian_features import F64, generator, mixed, normal, standard
from scipy import linalg
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from limpid.metrics.frechet import frechet, frechet_estimate
from limpid.metrics.moments import Moments, Statistics, blocks_of


def reference_distance(a: Statistics, b: Statistics) -> float:
    """The formula of Heusel et al. (2017) as written, with SciPy's root of the product."""
    root = linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    apart = (a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace()
    return apart.item() - 2 * float(np.real(np.trace(root)))


def test_the_distance_of_independent_axes_is_that_of_means_and_deviations():
    means, stds = normal(2, 9), normal(2, 9, seed=1).abs()
    a, b = (Statistics(mean, std.square().diag()) for mean, std in zip(means, stds, strict=True))
    expected = (means[0] - means[1]).square().sum() + (stds[0] - stds[1]).square().sum()
    assert frechet(a, b) == pytest.approx(expected.item(), rel=1e-13)


def test_the_distance_of_a_set_to_itself_is_zero():
    statistics = mixed(100, 40, 0)
    assert frechet(statistics, statistics) <= 1e-12 * statistics.covariance.trace()


def test_the_distance_is_the_same_both_ways():
    a, b = mixed(100, 20, 0), mixed(80, 20, 1)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-12)


def test_rotating_both_changes_nothing_and_scaling_both_scales():
    a, b = mixed(100, 20, 0), mixed(100, 20, 1)
    turn = torch.linalg.qr(normal(20, 20, 2)).Q
    turned, grown = (
        [Statistics(factor @ s.mean, factor @ s.covariance @ factor.T) for s in (a, b)]
        for factor in (turn, 3 * torch.eye(20, dtype=F64))
    )
    assert frechet(*turned) == pytest.approx(frechet(a, b), rel=1e-12)
    assert frechet(*grown) == pytest.approx(9 * frechet(a, b), rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 50, 200])
def test_the_distance_is_that_of_scipys_root(d):
    a, b = mixed(1_000, d, 0), mixed(800, d, 1)
    assert frechet(a, b) == pytest.approx(reference_distance(a, b), rel=1e-9)


class Flat(nn.Module):
    """A network whose features are the pixels."""

    num_features = 12

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).double()


def test_the_distance_is_torchmetrics():
    images = torch.randint(0, 256, (150, 3, 2, 2), generator=generator(), dtype=torch.uint8)
    other = (images.flip(0).double() * 0.7 + 20).to(torch.uint8)
    metric = FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 2, 2)).set_dtype(F64)
    metric.update(images, real=True)
    metric.update(other, real=False)
    found = frechet(Moments.of(other.flatten(1)).statistics, Moments.of(images.flatten(1)).statistics)
    assert found == pytest.approx(metric.compute().item(), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(20, 500), (500, 20), (30, 20), (2, 2)])
def test_fewer_samples_than_features_have_the_distance_of_their_factors(n, m):
    """For rows X and Y the trace of the root is the sum of the singular values of X Y^T, which need no rank."""
    d = 60
    x, y = normal(n, d, 0) * torch.arange(1, d + 1), normal(m, d, 1, shift=0.5)
    a, b = Moments.of(x).statistics, Moments.of(y).statistics
    product = (x - x.mean(0)) @ (y - y.mean(0)).T / math.sqrt((n - 1) * (m - 1))
    apart = (a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace()
    expected = (apart - 2 * torch.linalg.svdvals(product).sum()).item()
    top = max(torch.linalg.eigvalsh(s.covariance)[-1].item() for s in (a, b))
    assert frechet(a, b) == pytest.approx(expected, abs=1e-7 * top)


def test_constant_features_add_nothing_to_the_distance():
    a, b = mixed(100, 8, 0), mixed(100, 8, 1)
    grown = [
        Statistics(
            torch.cat([s.mean, torch.ones(3, dtype=F64)]), torch.block_diag(s.covariance, torch.zeros(3, 3, dtype=F64))
        )
        for s in (a, b)
    ]
    assert frechet(*grown) == pytest.approx(frechet(a, b), rel=1e-12)
    points = Statistics(torch.tensor([1.0, 2.0], dtype=F64), torch.zeros(2, 2, dtype=F64))
    assert frechet(points, Statistics(points.mean + 3, points.covariance)) == pytest.approx(18)


@pytest.mark.parametrize("bit", [0.0, 1.2e-7], ids=["equal", "equal but for the last bit"])
@pytest.mark.parametrize(("d", "scale"), [(1, 1.0), (12, 50.0), (64, 0.1), (256, 1.0)])
def test_a_set_of_identical_rows_has_the_distance_of_a_point(d, scale, bit):
    """|m1 - m2|^2 + tr C: what raw sums leave in the covariance of equal rows has eigenvalues below zero."""
    spread, row = Moments.of(normal(500, d, shift=2.0)).statistics, scale * normal(1, d, 1).float()
    rows = row.repeat(400, 1) * (1 + bit * normal(400, d, 2).sign().float())
    alike = Moments.of(rows).statistics
    assert alike.alike
    assert not spread.alike
    expected = ((alike.mean - spread.mean).square().sum() + spread.covariance.trace()).item()
    assert frechet(alike, spread) == pytest.approx(expected, rel=1e-12)
    assert frechet(spread, alike) == pytest.approx(expected, rel=1e-12)
    assert frechet(alike, alike) <= 1e-12 * alike.mean.square().sum()
    found = frechet_estimate(blocks_of(rows, 10, generator()), spread)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.error <= 1e-6 * expected


@pytest.mark.parametrize("ratio", [1e3, 1e5])
def test_features_far_from_zero_are_no_negative_covariance(ratio):
    """Rows of rank one: the other eigenvalues are rounding of mean^2, which is ratio^2 times the variance."""
    line = normal(300, 1) * torch.ones(1, 20, dtype=F64) + ratio
    statistics = Moments.of(line).statistics
    assert not statistics.alike
    assert frechet(statistics, statistics) <= 1e-8 * ratio**2 * 20


def test_widths_that_do_not_fit_and_negative_eigenvalues_are_refused():
    with pytest.raises(ValueError, match="features of 3 and of 4 values"):
        frechet(standard(3), standard(4))
    wrong = Statistics(torch.zeros(2, dtype=F64), torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=F64))
    for pair in ((wrong, standard(2)), (standard(2), wrong)):
        with pytest.raises(ValueError, match="a covariance has no negative eigenvalues"):
            frechet(*pair)


# What chance does to a share of 200 that is 0.95, and to the standard deviation of 200: four standard errors of each.
COVERED, SPREAD = 4 * math.sqrt(0.95 * 0.05 / 200), 4 / math.sqrt(2 * 199)


@pytest.mark.parametrize(("n", "d", "scale", "slack"), [(1_000, 8, 1.2, 0.0), (40, 20, 1.3, 0.1)], ids=["many", "few"])
def test_the_interval_covers_the_spread_between_independent_runs_as_it_claims(n, d, scale, slack):
    """Around the mean of many runs of equal n: what n itself does to a Frechet distance is no noise.

    For few samples the jackknife, whose parts have still fewer, is some percent too careful: that is the slack.
    """
    found = [
        frechet_estimate(blocks_of(normal(n, d, seed, 0.3, scale), 10, generator(seed)), standard(d))
        for seed in range(200)
    ]
    values = torch.tensor([one.value for one in found])
    claimed = torch.tensor([one.error for one in found]).square().mean().sqrt()
    assert claimed / values.std() == pytest.approx(1 + slack, abs=SPREAD + slack)
    held = [low < values.mean() < high for low, high in (one.interval for one in found)]
    assert sum(held) / 200 > 0.95 - COVERED


def test_the_error_for_equal_laws_is_not_too_small():
    """Where the distance is nearly zero it has no first order; the jackknife is then too large, never too small."""
    found = [
        frechet_estimate(blocks_of(normal(1_000, 8, seed), 10, generator(seed)), standard(8)) for seed in range(100)
    ]
    spread = torch.tensor([one.value for one in found]).std()
    claimed = torch.tensor([one.error for one in found]).square().mean().sqrt()
    assert spread < claimed < 2 * spread


def test_the_score_is_the_distance_of_all_blocks():
    features = normal(300, 5)
    found = frechet_estimate(blocks_of(features, 10, generator()), standard(5))
    assert found.value == pytest.approx(frechet(Moments.of(features).statistics, standard(5)), rel=1e-12)
    assert found.dof == 9
