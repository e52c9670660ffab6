"""Copies are found, and the false positive rate of other images is the one that the threshold was set for."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.data import Cifar10
from limpid.metrics.copies import COPY_NEIGHBOURS, copy_rate, distance_ratio, threshold
from limpid.metrics.neighbours import nearest

K = 20


def rows(n: int, seed: int) -> Tensor:
    """Busy images and plain ones: half of the rows vary ten times as much as the other half."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.where(torch.rand(n, 1, generator=generator) < 0.5, 10.0, 1.0)
    return size * torch.randn(n, 8, generator=generator)


@pytest.fixture(scope="module")
def training() -> Tensor:
    return rows(3_000, 0)


def near(samples: Tensor, training: Tensor) -> Tensor:
    return distance_ratio(nearest(samples, training, K).distances)


def test_images_of_the_held_out_law_count_as_copies_as_often_as_the_threshold_states(training):
    held_out, generated = near(rows(2_000, 1), training), near(rows(2_000, 2), training)
    limit = threshold(held_out, 0.05)
    assert copy_rate(held_out, limit).value == 0.05
    low, high = copy_rate(generated, limit).interval
    # The held-out images scatter as well as the generated: the interval of their difference is sqrt(2) wider.
    middle, reach = (low + high) / 2, (high - low) / 2
    assert abs(middle - 0.05) < math.sqrt(2) * reach


def test_copies_with_a_little_noise_are_found_among_the_others(training):
    held_out = near(rows(2_000, 1), training)
    copied = training[:300] * (1 + 0.05 * torch.randn(300, 8))
    generated = near(torch.cat([rows(700, 2), copied]), training)
    limit = threshold(held_out, 0.01)
    assert copy_rate(generated[700:], limit).value > 0.95
    assert copy_rate(generated, limit).value == pytest.approx(0.3, abs=0.03)


def test_nearness_finds_copies_of_busy_images_that_a_distance_misses(training):
    """At one rate of false alarms: by distance alone the threshold is that of the plain images."""
    busy = training[training.norm(dim=1) > 15]
    copied = nearest(busy + 0.5 * torch.randn(busy.shape), training, K).distances
    held_out = nearest(rows(2_000, 1), training, K).distances
    by_nearness = copy_rate(distance_ratio(copied), threshold(distance_ratio(held_out), 0.02)).value
    by_distance = copy_rate(copied[:, 0], threshold(held_out[:, 0], 0.02)).value
    assert by_nearness > 0.95
    assert by_distance < 0.1


def test_nearness_finds_copies_of_real_images_under_noise_that_a_distance_misses(cifar_root: Path):
    images = Cifar10(root=str(cifar_root)).load().pixels[:4_600].flatten(1)
    training, held_out = images[:4_000], images[4_000:]
    noisy = (training[:150] + 36 * torch.randn(150, 3_072)).clamp(0, 255).to(torch.uint8)
    copied, known = (nearest(images, training, COPY_NEIGHBOURS).distances for images in (noisy, held_out))
    assert copy_rate(distance_ratio(copied), threshold(distance_ratio(known), 0.05)).value > 0.95
    assert copy_rate(copied[:, 0], threshold(known[:, 0], 0.05)).value < 0.5


def test_the_distance_ratio_is_0_for_a_copy_and_1_for_equal_distances():
    distances = torch.tensor([[0, 1, 2], [2, 2, 2], [1, 2, 3], [0, 0, 0]], dtype=torch.float64)
    assert_close(distance_ratio(distances), torch.tensor([0, 1, 0.5, 0], dtype=torch.float64))


def test_exact_duplicates_among_the_held_out_still_count_as_copies():
    assert copy_rate(torch.tensor([0.0, 0.5]), threshold(torch.tensor([0.0, 0.4, 0.6, 0.8]), 0.25)).value == 0.5


def test_thresholds_of_less_than_one_image_and_single_neighbours_are_refused():
    with pytest.raises(ValueError, match=r"a fraction of 0.001 of 100 images"):
        threshold(torch.rand(100), 0.001)
    with pytest.raises(ValueError, match="at least two for each image"):
        distance_ratio(torch.rand(5, 1, dtype=torch.float64))
