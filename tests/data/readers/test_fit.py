"""Arrays of any type as images: which value is black and which is white, and how many channels there are."""

import numpy as np
import pytest
import torch

from limpid.data.readers.fit import DecodedImage, ImageSpec, fit_array
from limpid.data.readers.values import ValueRange, pixels_from_values

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def fit(array: np.ndarray, *value_range: float) -> DecodedImage:
    height, width = array.shape
    stated = ValueRange(value_range[0], value_range[1]) if value_range else None
    return fit_array(array, ImageSpec(height, width, "L", value_range=stated))


@pytest.mark.parametrize(
    ("values", "used"),
    [
        (RAMP, (0, 255)),
        (RAMP.astype(np.uint16) * 257, (0, 65535)),
        ((RAMP.astype(np.uint16) * 257).astype(">u2"), (0, 65535)),
        (RAMP.astype(np.float32) / 255, (0, 1)),
        (RAMP.astype(np.float64) / 127.5 - 1, (-1, 1)),
        (RAMP.astype(np.float16) / 255, (0, 1)),
    ],
    ids=["uint8", "uint16", "big-endian", "float32", "float64", "float16"],
)
def test_every_type_of_known_range_gives_the_same_pixels(values: np.ndarray, used: tuple[float, float]):
    found = fit(values)
    assert np.array_equal(found.pixels[0], RAMP)
    assert found.value_range == used
    assert found.highest == values.max()


def test_true_is_white():
    assert fit(np.eye(2, dtype=bool)).pixels[0].tolist() == [[255, 0], [0, 255]]


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u4", "f4"])
def test_a_type_without_a_known_range_takes_a_stated_one_and_clips_to_it(dtype: str):
    values = np.array([[-10, 0], [50, 100]], np.int64).astype(dtype)
    if dtype == "u4":
        values[0, 0] = 0
    with pytest.raises(ValueError, match=r"its values are \w+ from -?\d+ to \d+: .* --data.range LOW HIGH"):
        fit(values)
    assert fit(values, 0, 100).pixels[0].tolist() == [[0, 0], [128, 255]]
    assert fit(values, 0, 50).pixels[0].tolist() == [[0, 0], [255, 255]]


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
def test_a_value_becomes_the_nearest_pixel(dtype: str):
    """Compared with exact fractions; at a tie either neighbour is nearest."""
    low, high = 3, 118
    values = np.arange(low, high + 1).astype(dtype)
    pixels = pixels_from_values(values, ValueRange(low, high)).astype(np.int64)
    twice_off = np.abs(2 * (pixels * (high - low) - (values.astype(np.int64) - low) * 255))
    assert twice_off.max() <= high - low


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad: float):
    with pytest.raises(ValueError, match=r"not a number|infinite|data\.range"):
        fit(np.array([[0, bad]]))
    with pytest.raises(ValueError, match="not a number"):
        fit(np.array([[0, bad]]), 0, 1)
    with pytest.raises(ValueError, match="complex128: expected bool, integers or floats"):
        fit(np.array([[0j]]), 0, 1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 12])
def test_a_number_of_channels_is_read_as_it_is(channels: int):
    array = np.random.default_rng(0).integers(256, size=(6, 8, channels), dtype=np.uint8)
    found = fit_array(array, ImageSpec(6, 8, channels))
    assert np.array_equal(found.pixels.permute(1, 2, 0), array)
    with pytest.raises(ValueError, match=f"{channels} channels: expected 7; --data.channels {channels}"):
        fit_array(array, ImageSpec(6, 8, 7))


def test_named_channels_are_made_of_one_three_or_four_and_of_no_other_number():
    grey, alpha = np.full((4, 4, 1), 100, np.uint8), np.zeros((4, 4, 1), np.uint8)
    assert torch.equal(fit_array(grey, ImageSpec(4, 4)).pixels, torch.full((3, 4, 4), 100, dtype=torch.uint8))
    transparent = np.concatenate([grey, grey, grey, alpha], 2)
    assert (fit_array(transparent, ImageSpec(4, 4)).pixels == 255).all()
    with pytest.raises(ValueError, match=r"2 channels: expected 1, 3 or 4; --data.channels 2"):
        fit_array(np.concatenate([grey, alpha], 2), ImageSpec(4, 4))


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4, 3), (0, 4), (4, 4, 0)])
def test_an_array_of_another_shape_is_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="expected height x width, or height x width x channels"):
        fit_array(np.zeros(shape, np.uint8), ImageSpec(4, 4))
