"""The nearest neighbours are those of a brute-force search, and an exact copy is at distance 0."""

import pytest
import torch
from torch.testing import assert_close

from limpid.metrics.chunks import COLUMNS, ROWS
from limpid.metrics.neighbours import middle_of, nearest, nearest_images, squared_distance_rounding, squared_distances

F64 = torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(("n", "m", "d", "k"), [(7, 5, 3, 1), (7, 5, 3, 5), (ROWS + 5, COLUMNS + 9, 8, 4)])
def test_neighbours_are_those_of_a_brute_force_search(n, m, d, k, dtype):
    samples, reference = torch.randn(n, d, dtype=dtype), torch.randn(m, d, dtype=dtype)
    found = nearest(samples, reference, k)
    distances, indices = torch.cdist(samples.double(), reference.double()).topk(k, largest=False)
    # Differences of float32 are themselves right to 1e-7.
    assert_close(found.distances, distances, rtol=1e-6, atol=1e-6)
    assert_close(found.indices, indices)


@pytest.mark.parametrize("offset", [0.0, 100.0, -3_000.0])
def test_a_copy_is_found_at_distance_0_also_far_from_the_origin(offset):
    reference = torch.randn(COLUMNS + 300, 64) + offset
    chosen = torch.tensor([0, COLUMNS - 1, COLUMNS, COLUMNS + 299, 17])
    found = nearest(reference[chosen], reference)
    assert_close(found.indices[:, 0], chosen)
    assert (found.distances == 0).all()


def test_a_copy_is_found_among_others_that_differ_by_one_level_of_one_pixel():
    base = torch.randint(1, 255, (1, 3_072), dtype=torch.uint8)
    reference = base.repeat(5, 1)
    reference[torch.arange(4), torch.arange(4)] += 1
    found = nearest(base, reference, 3)
    assert found.indices[0, 0] == 4
    assert found.distances[0].tolist() == [0, 1, 1]


def test_uint8_pixels_give_the_neighbours_of_their_floats():
    samples = torch.randint(0, 256, (20, 48), dtype=torch.uint8)
    reference = torch.randint(0, 256, (30, 48), dtype=torch.uint8)
    found = nearest(samples, reference, 2)
    assert_close(found.distances, torch.cdist(samples.double(), reference.double()).topk(2, largest=False).values)


def test_a_sets_own_rows_are_their_own_nearest():
    rows = torch.randn(50, 6)
    found = nearest(rows, rows, 2)
    assert_close(found.indices[:, 0], torch.arange(50))
    apart = torch.cdist(rows.double(), rows.double()).fill_diagonal_(torch.inf)
    assert_close(found.distances[:, 1], apart.min(1).values, rtol=1e-6, atol=0)


def test_squared_distances_are_never_negative_and_right_to_rounding():
    x = torch.randn(40, 500)
    apart = squared_distances(x, x)
    assert apart.min() >= 0
    assert (apart.double() - torch.cdist(x.double(), x.double()).square()).abs().max() < 1e-6 * 2 * 500 * 2


@pytest.mark.parametrize("d", [1, 2, 64, 2048])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_squared_distances_are_off_by_less_than_their_rounding(d, shift):
    x, y = torch.randn(50, d) + shift, torch.randn(60, d).exp()
    off = squared_distances(x, y).double() - torch.cdist(x.double(), y.double()).square()
    assert (off.abs() < squared_distance_rounding(x, y) / 2).all()


def test_the_centre_is_near_the_rows():
    rows = torch.randn(3 * ROWS, 4) + 70
    assert (middle_of(rows) - 70).abs().max() < 0.2


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("flip", [True, False])
def test_images_near_to_an_image_or_mirrored_are_found_as_if_the_mirror_images_were_in_the_set(flip, memory_format):
    images = torch.randint(0, 256, (40, 3, 4, 5), dtype=torch.uint8)
    found = nearest_images(images[7].flip(2), images.contiguous(memory_format=memory_format), 50, flip)
    doubled = torch.cat([images, images.flip(3)]) if flip else images
    expected = nearest(images[7].flip(2)[None].flatten(1), doubled.flatten(1), min(50, len(doubled)))
    assert_close(found.distances, expected.distances[0], rtol=0, atol=0)
    assert_close(found.indices + 40 * found.mirrored, expected.indices[0])
    assert not flip or (found.indices[0], found.distances[0], found.mirrored[0]) == (7, 0, True)


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbours_than_rows_are_refused(k):
    with pytest.raises(ValueError, match=f"{k} nearest neighbours: expected 1 to 5"):
        nearest(torch.randn(3, 2), torch.randn(5, 2), k)
