"""Image grids: every image is at its position, to the pixel, and every label is complete."""

from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor

from limpid.storage.atomic import atomic_write
from limpid.viz.image_grid import (
    BACKGROUND,
    LABEL_COLOR,
    TITLE_COLOR,
    image_grid,
    near_square,
    save_images,
    save_png,
    strip,
)
from limpid.viz.text import to_ascii, typeset

SIZES = [(8, 8), (16, 16), (28, 28), (32, 32), (64, 64), (12, 30), (40, 17)]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]


def noise(n: int, channels: int, height: int, width: int) -> UInt8[Tensor, "n c h w"]:
    """Images of noise that differ everywhere; opaque where they have alpha."""
    random_pixels = torch.randint(0, 256, (n, channels, height, width), generator=torch.Generator().manual_seed(0))
    pixels = random_pixels.to(torch.uint8)
    if channels in (2, 4):
        pixels[:, -1] = 255
    return pixels


def plain(n: int, height: int = 32, width: int = 32) -> UInt8[Tensor, "n c h w"]:
    """One colour each."""
    return torch.tensor(COLOURS[:n], dtype=torch.uint8)[:, :, None, None].expand(n, 3, height, width)


def array(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    assert image.mode == "RGB"
    return np.asarray(image)


def box(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The position of the image of one colour: left, top, right, bottom. All of it is on the sheet."""
    ys, xs = np.nonzero((array(sheet) == colour).all(2))
    left, top, right, bottom = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
    assert len(xs) == (right - left) * (bottom - top)
    return left, top, right, bottom


def ink(sheet: Image.Image) -> Bool[np.ndarray, "h w"]:
    """What is not ground."""
    return (array(sheet) != BACKGROUND).any(2)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_image_is_found_back_at_its_place_and_the_rest_is_ground(height: int, width: int, channels: int):
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


def test_images_of_five_channels_are_not_saved_as_png(tmp_path: Path):
    with pytest.raises(ValueError, match=r"a PNG holds 1, 3 or 4 channels, and the images have 5: save them as \.npz"):
        save_images(noise(1, 5, 8, 8), tmp_path, ["a"])


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


LABELS = [
    (["cat", "dog"], ["t = 0", "t = 500", "t = 999"], "q(x_t | x_0)"),
    (["a much longer name than the image is wide", "gjpqy|"], ["a", "b", "c"], ""),
    (["one", "two"], ["σ = 0.5, longer than a image", "σ = 2, longer than a image", "σ = 80, the end"], "σ"),
    (["", "two\nlines"], ["over\ntwo lines", "one", "and\nover\nthree"], "A title of\ntwo lines"),
    ([], ["only", "column_labels", ""], ""),
    (["only", "rows"], [], ""),
    ([], [], "A title that is far longer than this sheet of six little images in two rows of three is wide"),
]
TEXT_SIZE = {1: 13, 4: 16}
"""The height of letters beside images of 24 pixels, and of four times that."""


def weight(image: Image.Image, *boxes: tuple[int, int, int, int]) -> float:
    """How much ink there is, apart from what is in the boxes."""
    darkness = np.abs(array(image).astype(float) - BACKGROUND).sum(2)
    for left, top, right, bottom in boxes:
        darkness[top:bottom, left:right] = 0
    return float(darkness.sum())


def weight_alone(label: str, size: int, colour: tuple[int, int, int] = LABEL_COLOR) -> float:
    """How much ink a label takes where it has all the room it wants."""
    room = Image.new("RGB", (1500, 200), BACKGROUND)
    ImageDraw.Draw(room).text((100, 50), to_ascii(label), colour, ImageFont.load_default(size))
    return weight(room)


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize(("rows", "heads", "title"), LABELS)
def test_labels_move_no_image_out_of_its_row_and_column(rows: list[str], heads: list[str], title: str, scale: int):
    sheet = image_grid(plain(6, 20, 24), 3, scale, row_labels=rows, column_labels=heads, title=title)
    boxes = [box(sheet, colour) for colour in COLOURS]
    lefts, tops = [b[0] for b in boxes], [b[1] for b in boxes]
    assert lefts[:3] == lefts[3:] == sorted(set(lefts))
    assert len(set(tops[:3])) == len(set(tops[3:])) == 1
    assert tops[0] < tops[3]
    assert {(b[2] - b[0], b[3] - b[1]) for b in boxes} == {(24 * scale, 20 * scale)}


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize(("rows", "heads", "title"), LABELS)
def test_every_label_is_complete(rows: list[str], heads: list[str], title: str, scale: int):
    sheet, size = (
        image_grid(plain(6, 20, 24), 3, scale, row_labels=rows, column_labels=heads, title=title),
        TEXT_SIZE[scale],
    )
    marks = ink(sheet)
    margin = size - 1  # a letter may lean out by a pixel
    for edge in (marks[:margin], marks[-margin:], marks[:, :margin], marks[:, -margin:]):
        assert not edge.any()
    alone = sum(weight_alone(label, size) for label in [*rows, *heads]) + weight_alone(title, size + 3, TITLE_COLOR)
    assert weight(sheet, *(box(sheet, colour) for colour in COLOURS)) == alone


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("labels", [["cat", "dog"], ["a long name, longer than a image", "g"], ["", "two\nlines"]])
def test_a_row_is_named_on_its_left(labels: list[str], scale: int):
    sheet = image_grid(plain(6, 20, 24), 3, scale, row_labels=labels)
    first, second = box(sheet, COLOURS[0]), box(sheet, COLOURS[3])
    between = (first[3] + second[1]) // 2
    for label, part in zip(labels, [(0, 0, first[0], between), (0, between, first[0], sheet.height)], strict=True):
        assert weight(sheet.crop(part)) == weight_alone(label, TEXT_SIZE[scale])
    assert not ink(sheet)[:, first[0] - 4 : first[0] - 1].any()


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize(
    "labels", [["t = 0", "t = 1", "t = 2"], ["one that is longer than a image"] * 3, ["", "a\nb", "gj"]]
)
def test_a_column_is_named_above(labels: list[str], scale: int):
    sheet = image_grid(plain(6, 20, 24), 3, scale, column_labels=labels)
    boxes = [box(sheet, colour) for colour in COLOURS[:3]]
    ends = [0, *((a[2] + b[0]) // 2 for a, b in pairwise(boxes)), sheet.width]
    for label, (left, right) in zip(labels, pairwise(ends), strict=True):
        part = sheet.crop((left, 0, right, boxes[0][1]))
        assert weight(part) == weight_alone(label, TEXT_SIZE[scale])
    assert not ink(sheet)[boxes[0][1] - 4 : boxes[0][1] - 1].any()


def test_letters_that_the_font_lacks_are_spelt():
    symbols = "σ = 2×10−3, ᾱ → ∞, Δ, λ"
    assert to_ascii(f"{symbols}, café") == "sigma = 2x10-3, alpha -> inf, delta, lambda, cafe"
    assert typeset(symbols, 13)[0] == to_ascii(symbols)
    assert to_ascii("猫") == typeset("猫", 13)[0] == "<U+732B>"
    ascii_only = "".join(map(chr, range(32, 127)))
    assert to_ascii(ascii_only) == ascii_only


@pytest.mark.parametrize("name", ["собака", "γάτα", "café", "chat noir"])
def test_a_name_in_another_alphabet_has_its_own_letters(name: str):
    assert typeset(name, 13)[0] == name
    assert typeset(name, 13)[1].getmask(name[-1]).getbbox() is not None


def test_images_without_a_number_of_columns_follow_their_labels():
    six = plain(6)
    assert (
        image_grid(six, column_labels=["a", "b", "c"]).tobytes()
        == image_grid(six, 3, column_labels=["a", "b", "c"]).tobytes()
    )
    assert (
        image_grid(six, row_labels=["a", "b", "c"]).tobytes()
        == image_grid(six, 2, row_labels=["a", "b", "c"]).tobytes()
    )


def test_a_strip_is_a_grid_with_a_name_for_every_row_and_column():
    pixels = noise(6, 3, 8, 8)
    names, times = ["cat", "dog"], ["t = 0", "t = 1", "t = 2"]
    there = strip(pixels.unflatten(0, (2, 3)), names, times, "forward")
    assert there.tobytes() == image_grid(pixels, 3, row_labels=names, column_labels=times, title="forward").tobytes()


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


def test_a_saved_sheet_comes_back_with_its_notes(tmp_path: Path):
    sheet = image_grid(noise(4, 3, 8, 8))
    path = save_png(sheet, tmp_path / "new" / "folders" / "sheet.png", {"limpid": "σ = 80", "seed": "0"})
    with Image.open(path) as back:
        assert isinstance(back, PngImageFile)
        assert back.tobytes() == sheet.tobytes()
        assert back.text == {"limpid": "σ = 80", "seed": "0"}
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_a_file_is_written_atomically(tmp_path: Path):
    path = tmp_path / "file.txt"
    with atomic_write(path) as part:
        part.write_text("first")
        assert not path.exists()

    def interrupted() -> None:
        with atomic_write(path) as part:
            part.write_text("sec")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_sheet_is_not_saved_under_a_name_that_is_not_png(tmp_path: Path):
    with pytest.raises(ValueError, match=r"sheet\.jpg': expected a path that ends in \.png"):
        save_png(image_grid(plain(1)), tmp_path / "sheet.jpg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_single_images_are_read_back_to_the_bit_in_their_own_size(channels: int, tmp_path: Path):
    pixels = noise(3, channels, 9, 14)
    pixels[0, -1, 0] = 7  # alpha below 255 as well
    paths = save_images(pixels, tmp_path, ["cat/0", "cat/1", "dog/2"])
    assert paths == [tmp_path / "cat/0.png", tmp_path / "cat/1.png", tmp_path / "dog/2.png"]
    for expected, path in zip(pixels, paths, strict=True):
        with Image.open(path) as back:
            assert back.mode == ["L", "LA", "RGB", "RGBA"][channels - 1]
            there = np.asarray(back).reshape(9, 14, channels)
        np.testing.assert_array_equal(there, expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("names", "found"), [(["a"], 1), (["a", "a"], 1), (["a", "b", "c"], 3)])
def test_single_images_need_different_names(names: list[str], found: int, tmp_path: Path):
    with pytest.raises(ValueError, match=f"{found} different names for 2 images"):
        save_images(plain(2), tmp_path, names)
    assert list(tmp_path.iterdir()) == []
