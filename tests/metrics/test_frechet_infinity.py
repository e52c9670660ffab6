"""The Frechet distance extrapolated to infinitely many samples, with its error."""

import math

import numpy as np
import pytest
import torch
from gaussian_features import generator, normal, standard
from torch.testing import assert_close

from limpid.metrics.frechet import distance_to, frechet_estimate, frechet_infinity, line
from limpid.metrics.moments import blocks_of


def test_the_line_and_its_error_are_numpys():
    x = [1.0, 2.0, 4.0, 5.0]
    y = [3.1, 4.0, 6.3, 6.9]
    found = line(list(zip(x, y, strict=True)))
    (slope, value), covariance = np.polyfit(x, y, 1, cov=True)
    assert (found.slope, found.value) == pytest.approx((slope, value))
    assert found.fit == pytest.approx(math.sqrt(covariance[1, 1]))


def test_points_on_a_line_meet_its_end():
    points = [(1 / n, 2.5 + 40 / n) for n in (100, 200, 500)]
    found = line(points)
    assert found[:3] == pytest.approx((2.5, 40, 0), abs=1e-9)
    assert found.points == points


def test_the_limit_is_the_distance_of_the_laws_where_that_of_samples_is_too_high():
    """30 runs of 20 d samples in each of 10 blocks: the mean is the laws' within four standard errors."""
    d, scale, shift = 10, 1.2, 0.2
    true = d * (shift**2 + (scale - 1) ** 2)
    runs = [blocks_of(normal(2_000, d, seed, shift, scale), 10, generator(seed)) for seed in range(40)]
    near = torch.tensor([frechet_estimate(blocks, standard(d)).value for blocks in runs])
    far = torch.tensor([frechet_infinity(blocks, standard(d)).value for blocks in runs])
    error = far.std() / math.sqrt(40)
    assert abs(far.mean() - true) < 4 * error
    # The bias is measured run by run, as the limit varies with the score.
    assert (near - far).mean() > 10 * (near - far).std() / math.sqrt(40)
    # The limit scatters little more than the score itself, so that the score's error serves for it.
    assert far.std() < 1.1 * near.std()


def test_the_limit_of_equal_laws_may_be_negative():
    limits = [frechet_infinity(blocks_of(normal(1_000, 8, s), 10, generator(s)), standard(8)).value for s in range(40)]
    assert min(limits) < 0 < max(limits)
    assert abs(sum(limits) / 40) < 4 * torch.tensor(limits).std() / math.sqrt(40) + 1e-3


def test_points_of_the_limit_are_the_means_of_groups_of_blocks():
    blocks = blocks_of(normal(240, 5), 6, generator())
    distance = distance_to(standard(5))
    points = frechet_infinity(blocks, standard(5)).points
    assert_close([x for x, _ in points], [1 / 40, 1 / 80, 1 / 120, 1 / 240])
    halves = [blocks[0] + blocks[1] + blocks[2], blocks[3] + blocks[4] + blocks[5]]
    assert_close(points[2][1], sum(distance(half.statistics) for half in halves) / 2)


@pytest.mark.parametrize(("n", "count", "message"), [(100, 7, "three sizes"), (50, 10, "more than 5 in each")])
def test_blocks_that_cannot_be_extrapolated_are_refused(n, count, message):
    with pytest.raises(ValueError, match=message):
        frechet_infinity(blocks_of(normal(n, 5), count, generator()), standard(5))
