"""From the values of an image, of any number of bits, to pixels 0..255: which value is black, and which is white."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from limpid.data.convert import RANGE_TOLERANCE

STATE_RANGE = "state which become black and white with --data.range LOW HIGH"
MAX_UINT16 = 65535
LEAST_SHARE = 1 / 8
"""Images of 16 bits are as dark as 3 bits of grey if none of their values is above this share of the scale."""


class ValueRange(NamedTuple):
    """The values that become black, 0, and white, 255; values outside are clipped."""

    black: float
    white: float


def value_range_of(values: np.ndarray, stated: ValueRange | None = None) -> ValueRange:
    """The range of these values: as stated, or that of their type; floats are in [0, 1] or [-1, 1].

    Raises ValueError for other floats and other integers, and for what is no number.
    """
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return ValueRange(0, 1)
    if kind not in "uif" or size > 8:
        raise ValueError(f"its values are {values.dtype}: expected bool, integers or floats of at most 64 bits")
    if stated is not None:
        return stated
    if kind == "u" and size <= 2:
        return ValueRange(0, 255 if size == 1 else MAX_UINT16)
    low, high = values.min(), values.max()
    if kind == "f" and high <= 1 + RANGE_TOLERANCE and low >= -1 - RANGE_TOLERANCE:
        return ValueRange(0 if low >= -RANGE_TOLERANCE else -1, 1)
    raise ValueError(f"its values are {values.dtype} from {low:g} to {high:g}: {STATE_RANGE}")


def pixels_from_values(values: np.ndarray, value_range: ValueRange) -> UInt8[np.ndarray, "*shape"]:
    """The nearest pixels 0..255 of values in a range. Raises ValueError for infinite values and those that are NaN."""
    black, white = value_range
    if values.dtype == np.uint8 and value_range == (0, 255):
        return values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("some of its values are infinite or not a number (NaN)")
    scaled = values.astype(np.result_type(values.dtype, np.float32))  # float64 where float32 would round the values
    scaled -= black
    scaled *= 255  # before the division: products of 16 bits are exact in float32
    scaled /= white - black
    return np.rint(scaled, out=scaled).clip(0, 255, out=scaled).astype(np.uint8)


def check_value_ranges(name: str, highest: Sequence[tuple[ValueRange, float]]) -> None:
    """Raise ValueError if the images of a set, by their largest values, can hardly be of the ranges of their types."""
    if len({value_range for value_range, _ in highest if max(value_range) == 1}) > 1:
        raise ValueError(f"{name}: some images are of floats in [0, 1] and others in [-1, 1]: {STATE_RANGE}")
    most = max((value for value_range, value in highest if max(value_range) == MAX_UINT16), default=0)
    if 0 < most < LEAST_SHARE * MAX_UINT16:
        white = 2 ** int(most).bit_length() - 1
        proposal = f"--data.white {white}, or --data.white auto for the largest value of the set"
        raise ValueError(
            f"{name}: its values of 16 bits go up to {most:g} of 65535: state what is white with {proposal}"
        )
