"""Labels of image grids: every one is complete, in its alphabet, beside its row or above its column."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from plain_images import COLOURS, array, box, ink, noise, plain

from limpid.viz.image_grid import (
    BACKGROUND,
    LABEL_COLOR,
    TITLE_COLOR,
    image_grid,
    strip,
)
from limpid.viz.text import to_ascii, typeset

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
