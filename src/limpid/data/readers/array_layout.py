"""How an array holds images: which axis is height, width and channels, and what its numbers mean.

A row of an array is one image. Rows are brought to height x width x channels; their numbers are left as they are, and
`decode` converts them. Floats are taken as in [0, 1] or [-1, 1], where the first rows are; a row outside is refused.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from limpid.data.convert import RANGE_TOLERANCE
from limpid.data.readers.fit import MAX_PIXELS, DecodedImage, ImageSpec, fit_array
from limpid.data.readers.values import STATE_RANGE, ValueRange

ToHwc: TypeAlias = Callable[[np.ndarray], np.ndarray]
FEW_CHANNELS = 4


class ArrayLayout(NamedTuple):
    """Where the images of an array are in it."""

    height: int
    width: int
    channels: int
    order: str
    """The order of the axes in words."""
    to_hwc: ToHwc
    """Brings a row to height x width x channels."""

    def __str__(self) -> str:
        alpha = ", RGB and alpha unless --data.channels is 4" if self.channels == 4 else ""
        return f"{self.height}x{self.width}, {self.channels} channel{'s'[: self.channels > 1]} ({self.order}{alpha})"


def layout_from_shape(shape: tuple[int, ...]) -> ArrayLayout:
    """The layout of an array of n images with this shape.

    Channels are the axis of at most four, the last one if there are two; else that which differs from two equal ones.
    A row of numbers is a grey square, or three planes of one. Raises ValueError for other shapes.
    """
    match shape:
        case (_, numbers):
            layout = _flat_layout(numbers)
        case (_, h, w):
            layout = ArrayLayout(h, w, 1, "grey", lambda row: row[:, :, None])
        case (_, a, b, c) if _channels_are_last(a, b, c):
            layout = ArrayLayout(a, b, c, "channels last", lambda row: row)
        case (_, a, b, c) if a != b or b != c:
            layout = ArrayLayout(b, c, a, "channels first", lambda row: row.transpose(1, 2, 0))
        case _:
            raise ValueError(f"an array of shape {shape} is no row of images: expected n x height x width x channels")
    check_layout(layout)
    return layout


def column_major_layout(shape: tuple[int, ...]) -> ArrayLayout:
    """The layout of n x channels x width x height, or n x width x height: columns one after another, as in MATLAB."""
    _, *channels, width, height = shape
    layout = ArrayLayout(height, width, channels[0] if channels else 1, "columns first", _hwc_from_columns)
    check_layout(layout)
    return layout


def _hwc_from_columns(row: np.ndarray) -> np.ndarray:
    return row.reshape(-1, *row.shape[-2:]).transpose(2, 1, 0)


def check_layout(layout: ArrayLayout) -> None:
    """Raise ValueError if images are empty or too large."""
    if not 1 <= layout.height * layout.width <= MAX_PIXELS or not 1 <= layout.channels <= MAX_PIXELS // 4:
        raise ValueError(f"it has images of {layout.height}x{layout.width}: expected 1 to {MAX_PIXELS:,} pixels")


def _channels_are_last(a: int, b: int, c: int) -> bool:
    if min(a, c) <= FEW_CHANNELS:
        return c <= FEW_CHANNELS
    return c != b and (a == b or c < a)


def _flat_layout(numbers: int) -> ArrayLayout:
    """The layout of images that are rows of numbers: ImageNet32 and CIFAR have three planes, MNIST one."""
    for channels, order in ((1, "flat, grey"), (3, "flat, planes of red, green and blue")):
        side = math.isqrt(numbers // channels)
        if side > 1 and channels * side * side == numbers:
            return ArrayLayout(side, side, channels, order, partial(_hwc_from_planes, (channels, side, side)))
    raise ValueError(f"rows of {numbers:,} numbers are no square images: expected height x width x channels")


def _hwc_from_planes(shape: tuple[int, int, int], row: np.ndarray) -> np.ndarray:
    return row.reshape(shape).transpose(1, 2, 0)


def range_of(rows: np.ndarray) -> ValueRange | None:
    """The range in which floats are, [0, 1] or [-1, 1], and integers with a sign, 0..255; None if they are in none."""
    least, most = float(rows.min()), float(rows.max())
    ranges = (ValueRange(0, 1), ValueRange(-1, 1)) if rows.dtype.kind == "f" else (ValueRange(0, 255),)
    return next((r for r in ranges if r.black - RANGE_TOLERANCE <= least and most <= r.white + RANGE_TOLERANCE), None)


def has_own_range(dtype: np.dtype) -> bool:
    """Whether the type of numbers says which is white: that of bool, and of unsigned integers of 8 and 16 bits."""
    return dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2)


def image_from_row(row: np.ndarray, layout: ArrayLayout, numbers: ValueRange | None, spec: ImageSpec) -> DecodedImage:
    """A row of an array as an image of `spec`; `numbers` is the range of those that do not say it by their type.

    Raises ValueError where a number is outside of it, and `spec` does not state another range.
    """
    if spec.value_range is None and not has_own_range(row.dtype):
        least, most = float(row.min()), float(row.max())
        if numbers is None or not (
            numbers.black - RANGE_TOLERANCE <= least and most <= numbers.white + RANGE_TOLERANCE
        ):
            known = (
                f"the first images are in [{numbers.black:g}, {numbers.white:g}]" if numbers else "no white is known"
            )
            raise ValueError(f"its values are {row.dtype} from {least:g} to {most:g}, and {known}: {STATE_RANGE}")
        spec = replace(spec, value_range=numbers)
    return fit_array(layout.to_hwc(row), spec)
