"""One image: from the bytes of a file to pixels of a given shape.

Rotated by its EXIF data, 16 bits scaled to 8, palettes and CMYK converted to RGB, transparency composited over white;
then cropped and resized. Any fault of the bytes is a ValueError of one line. Formats that run another program are not
read.
"""

from contextlib import nullcontext
from functools import lru_cache
from io import BytesIO
from threading import Lock

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from limpid.data.readers.fit import (
    MAX_PIXELS,
    DecodedImage,
    ImageSpec,
    crop_box,
    fit_array,
    fit_planes,
    image_in_mode,
    planes_of,
    planes_of_image,
)
from limpid.data.readers.messages import one_line

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
"""The formats that are read, by Pillow's names. Not EPS, which is a program; nor formats without a signature."""
SERIAL_ABOVE_PIXELS = 2**24
"""Images with more pixels are decoded one at a time, so that memory does not grow with the number of threads."""
DRAFT_FACTOR = 4
"""A JPEG is decoded at half, a quarter or an eighth if so many pixels are left for each one wanted, along each axis.

Photographs of 512x600 to 2048x2400 at 32 and 64 pixels: at most 4 of 255 off the whole decoding, 0.2 to 0.5 in the mean
(with 2 instead of 4: up to 14 and 1.2), in a half to a seventh of the time."""

_large = Lock()


def decode(blob: bytes, spec: ImageSpec) -> DecodedImage:
    """The image in the bytes of a file, converted to `spec`. Raises ValueError, in one line, if it cannot be read."""
    if not blob:
        raise ValueError("it is empty")
    try:
        with Image.open(BytesIO(blob), formats=_formats()) as image:
            return fit_to(image, spec)
    except UnidentifiedImageError as error:
        raise ValueError("it is in no known format") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it claims too many pixels: expected at most {MAX_PIXELS:,}") from error
    except Exception as error:  # Pillow raises nearly any exception for broken files
        raise ValueError(one_line(error)) from error


def fit_to(image: Image.Image, spec: ImageSpec) -> DecodedImage:
    """An open image, converted to `spec`. Raises ValueError if it has too many pixels, and whatever Pillow raises."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"it claims {width}x{height} pixels: expected at most {MAX_PIXELS:,}")
    animated = bool(getattr(image, "is_animated", False))
    wanted = DRAFT_FACTOR * max(spec.height, spec.width)
    if image.format == "JPEG":
        image.draft(None, (wanted, wanted))
    with _large if image.width * image.height > SERIAL_ABOVE_PIXELS else nullcontext():
        ImageOps.exif_transpose(image, in_place=True)
        values = _values_of(image)
        if values is not None:
            return fit_array(values, spec)._replace(animated=animated)
        window = image.crop(crop_box(image.size, spec)) if spec.fit == "crop" else image
        if isinstance(spec.channels, int):
            pixels = planes_of(np.asarray(window).reshape(window.height, window.width, -1), spec.channels)
        else:
            pixels = planes_of_image(image_in_mode(window, spec.channels))
    return fit_planes(pixels, spec)._replace(animated=animated)


def _values_of(image: Image.Image) -> np.ndarray | None:
    """The values of an image of more than 8 bits, as Pillow reads them; None for others."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return np.asarray(image).astype(np.uint16)
    return np.asarray(image) if image.mode in ("I", "F") else None


@lru_cache(maxsize=1)
def _formats() -> list[str]:
    Image.init()
    return [name for name in IMAGE_FORMATS if name in Image.OPEN]  # Pillow reads AVIF from 11.3 on
