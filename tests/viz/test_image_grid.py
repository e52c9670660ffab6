"""Image grids: every image is at its position, to the pixel."""

from math import ceil
from typing import Any

import numpy as np
import pytest
import torch
from plain_images import COLOURS, SIZES, array, box, noise, plain
from torch import Tensor

from limpid.viz.image_grid import (
    BACKGROUND,
    image_grid,
    near_square,
)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_image_is_at_its_position_and_the_rest_is_background(height: int, width: int, channels: int):
    pixels, columns, scale, gap = noise(7, channels, height, width), 3, 2, 5
    sheet = array(image_grid(pixels, columns, scale, gap)).copy()
    rows = ceil(len(pixels) / columns)
    assert sheet.shape == (gap + rows * (2 * height + gap), gap + columns * (2 * width + gap), 3)
    for i, image in enumerate(pixels):
        y, x = gap + i // columns * (2 * height + gap), gap + i % columns * (2 * width + gap)
        there = sheet[y : y + 2 * height, x : x + 2 * width]
        colours = image[:3] if channels > 2 else image[:1].expand(3, -1, -1)
        for dy in range(scale):
            for dx in range(scale):
                np.testing.assert_array_equal(there[dy::scale, dx::scale], colours.permute(1, 2, 0).numpy())
        there[:] = BACKGROUND
    assert (sheet == BACKGROUND).all()


@pytest.mark.parametrize(
    ("channels", "shown", "note"),
    [(2, 1, "channel 1 of 2"), (5, 3, "channels 1, 2, 3 of 5 as red, green, blue"), (3, 3, ""), (1, 1, "")],
)
def test_of_two_channels_the_first_is_shown_and_of_more_than_four_the_first_three(channels: int, shown: int, note: str):
    pixels = noise(4, channels, 8, 8)
    assert image_grid(pixels).tobytes() == image_grid(pixels[:, :shown], title=note).tobytes()


def test_without_a_gap_a_sheet_is_the_images_and_nothing_else():
    pixels = noise(4, 3, 8, 8)
    sheet = array(image_grid(pixels, columns=2, scale=1, gap=0))
    joined = torch.cat([torch.cat([pixels[0], pixels[1]], 2), torch.cat([pixels[2], pixels[3]], 2)], 1)
    np.testing.assert_array_equal(sheet, joined.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("side", [8, 13, 16, 24, 28, 32])
def test_small_images_are_enlarged_to_between_64_and_96_pixels(side: int, labelled: bool):
    left, top, right, bottom = box(
        image_grid(plain(1, side, side), column_labels=["a"] if labelled else []), COLOURS[0]
    )
    assert right - left == bottom - top
    assert 64 <= right - left <= 96
    assert (right - left) % side == 0


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 64), (128, 20), (256, 256)])
def test_images_of_64_pixels_and_more_keep_their_size(height: int, width: int):
    left, top, right, bottom = box(image_grid(plain(1, height, width)), COLOURS[0])
    assert (right - left, bottom - top) == (width, height)


@pytest.mark.parametrize("n", [*range(1, 70), 100, 128, 1000])
def test_a_sheet_is_near_square_and_has_no_empty_row(n: int):
    columns = near_square(n)
    rows = ceil(n / columns)
    assert rows <= columns <= 1.5 * n**0.5 + 1.5
    assert n > (rows - 1) * columns
    assert n % columns == 0 or all(n % c for c in range(rows, columns + 1))


@pytest.mark.parametrize(("n", "columns"), [(8, 4), (10, 5), (12, 4), (16, 4), (24, 6), (32, 8), (64, 8), (7, 3)])
def test_usual_numbers_of_images_fill_their_sheet(n: int, columns: int):
    assert near_square(n) == columns


def test_transparent_pixels_show_the_background():
    pixels = torch.zeros(1, 4, 2, 2, dtype=torch.uint8)
    pixels[0, :, 0, 0] = torch.tensor([255, 0, 0, 255])
    pixels[0, :, 0, 1] = torch.tensor([255, 0, 0, 128])
    sheet = array(image_grid(pixels, scale=1, gap=0))
    assert tuple(sheet[0, 0]) == (255, 0, 0)
    assert (sheet[1] == BACKGROUND).all()
    expected = np.array((255, 0, 0)) * 128 / 255 + np.array(BACKGROUND) * 127 / 255
    np.testing.assert_allclose(sheet[0, 1], expected, atol=1)  # a byte's rounding


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (noise(2, 3, 8, 8).float(), {}, "images are torch.float32: expected uint8"),
        (noise(0, 3, 8, 8), {}, "no images"),
        (noise(6, 3, 8, 8), {"columns": 3, "row_labels": ["a"]}, "1 row labels: expected 2"),
        (noise(6, 3, 8, 8), {"columns": 3, "column_labels": ["a", "b"]}, "2 column labels: expected 3"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(pixels: Tensor, labels: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        image_grid(pixels, **labels)
