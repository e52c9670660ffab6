"""Images of other than 8 bits, brought to 8: what their header says of the values, which Pillow's mode does not say."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from limpid.data.readers.tiff_directories import MIN_IS_WHITE, PHOTOMETRIC
from limpid.data.readers.values import MAX_UINT16, ValueRange, pixels_from_values, value_range_of

BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339
"""Tags of TIFF 6.0."""
SIGNED = 2


@dataclass(frozen=True)
class StoredValues:
    """How an image stores its values."""

    bits: int = 8
    signed: bool = False
    inverted: bool = False
    """Whether 0 is white and Pillow leaves it so."""
    in_colours: bool = False
    """Whether they are 16 bits of several channels, of which Pillow reads the upper 8."""
    transparent: int | None = None
    """The value of grey that is transparent, if there is one."""


class EightBits(NamedTuple):
    """An image of 8 bits, the values that became black and white, and the largest of its values."""

    image: Image.Image
    value_range: ValueRange | None = None
    highest: float = 0


def stored_values(image: Image.Image) -> StoredValues:
    """How an image that was opened, and not yet read, stores its values."""
    rawmode = str(image.tile[0][3]) if getattr(image, "tile", None) else ""  # pyright: ignore[reportAttributeAccessIssue]
    if len(image.getbands()) > 1:
        wide = ";16" in rawmode
        return StoredValues(bits=16 if wide else 8, in_colours=wide)
    tags = getattr(image, "tag_v2", {})
    bits = int(tags.get(BITS_PER_SAMPLE, (16 if image.mode[0] == "I" else 32 if image.mode == "F" else 8,))[0])
    transparent = image.info.get("transparency") if image.mode.startswith("I") else None
    return StoredValues(
        bits,
        signed=SIGNED in tags.get(SAMPLE_FORMAT, ()),
        inverted=tags.get(PHOTOMETRIC) == MIN_IS_WHITE and bits >= 16,
        transparent=transparent if isinstance(transparent, int) else None,
    )


def image_of_8_bits(image: Image.Image, stored: StoredValues, stated: ValueRange | None) -> EightBits:
    """An image in a mode of 8 bits, by the stated range or that of its type. Raises ValueError if that is unknown."""
    if stored.in_colours:
        if stated is not None:
            raise ValueError("it has 16 bits for each colour, which --data.range reads only from TIFF (with tifffile)")
        highest = max(high for _, high in image.getextrema())  # pyright: ignore[reportGeneralTypeIssues]
        return EightBits(image, ValueRange(0, MAX_UINT16), 256 * int(highest) + 255)
    values = _values(image, stored)
    if values is None:
        return EightBits(image)
    if stated is None and stored.bits < 16 and not stored.signed:
        stated = ValueRange(0, 2**stored.bits - 1)
    value_range = value_range_of(values, stated)
    if stored.inverted:
        value_range = ValueRange(value_range.white, value_range.black)
    grey = Image.fromarray(pixels_from_values(values, value_range))
    if stored.transparent is not None:
        grey.putalpha(Image.fromarray(pixels_from_values(values != stored.transparent, ValueRange(0, 1))))
    return EightBits(grey, value_range, float(values.max()))


def _values(image: Image.Image, stored: StoredValues) -> np.ndarray | None:
    """The values of an image in their own type; None for an image of 8 bits, which are without a sign."""
    if image.mode == "L" and stored.signed:
        return np.asarray(image).view(np.int8)
    if image.mode == "F":
        return np.asarray(image)
    if not image.mode.startswith("I"):
        return None
    if stored.bits > 16:
        return np.asarray(image).view(np.int32 if stored.signed else np.uint32)
    return np.asarray(image).astype(np.int16 if stored.signed else np.uint16)
