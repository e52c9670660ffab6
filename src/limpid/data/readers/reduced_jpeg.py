"""Large JPEGs decoded at a half, a quarter or an eighth of their size, which takes a fraction of the time.

The crop is that of the full image: its box is scaled, and may begin and end between the pixels of the reduced image.
"""

from dataclasses import dataclass
from math import ceil, floor

from PIL import Image, ImageOps

from limpid.data.readers.fit import (
    MAX_PIXELS,
    DecodedImage,
    ImageSpec,
    channels_of_image,
    crop_box,
    pad_to_target,
    target_size,
)

DRAFT_FACTOR = 4
"""A JPEG is decoded at a half, a quarter or an eighth if so many pixels are left for each one wanted, along each axis.

Two photographs of 512x600 and 720x477 and twelve crops of them, at 32 and 64 pixels: at most 6 of 255 off the decoding
at full size, 0.1 to 0.4 on average. Eight synthetic images of 512x600 to 2048x2400, of overlapping shapes with textures
of CIFAR-10, sharp edges and noise: at most 9, and 0.2 to 0.6 on average."""
MAX_JPEG_PIXELS = 2**28
"""Pixels that a JPEG may have that is decoded at part of its size, if it is not progressive: those of 16384x16384."""
ORIENTATION = 274
"""The tag of EXIF 2.3."""


@dataclass(frozen=True)
class Reduction:
    """How a JPEG is decoded: its own width and height, and the factor by which the decoded ones are smaller."""

    size: tuple[int, int]
    factor: int = 1

    @property
    def is_large(self) -> bool:
        """Whether its decoding takes the memory of many pixels."""
        return self.size[0] * self.size[1] > MAX_PIXELS


def reduce_jpeg(image: Image.Image, spec: ImageSpec) -> Reduction:
    """Prepare an open JPEG to be decoded at part of its size; other images, and small ones, as they are.

    Raises ValueError if it has too many pixels.
    """
    size = width, height = image.size
    if image.format != "JPEG":
        return Reduction(size)
    limit = MAX_PIXELS if image.info.get("progressive") else MAX_JPEG_PIXELS  # progressive: all coefficients in memory
    if width * height > limit:
        raise ValueError(f"it claims {width}x{height} pixels: expected at most {limit:,}")
    wanted = DRAFT_FACTOR * max(spec.height, spec.width)
    box = image.draft(None, (wanted, wanted))
    return Reduction(size, round(width / box[1][2]) if box else 1)


def fit_reduced(image: Image.Image, reduction: Reduction, spec: ImageSpec) -> DecodedImage:
    """A JPEG that `reduce_jpeg` prepared, converted to `spec`."""
    orientation = image.getexif().get(ORIENTATION, 1)
    ImageOps.exif_transpose(image, in_place=True)
    width, height = reversed(reduction.size) if orientation in (5, 6, 7, 8) else reduction.size
    full = crop_box((width, height), spec)
    # The last column and row of a reduced image may stand for fewer pixels; turned upright, they may be the first.
    shift_x = image.width - width / reduction.factor if orientation in (2, 3, 6, 7) else 0
    shift_y = image.height - height / reduction.factor if orientation in (3, 4, 7, 8) else 0
    left, right = (x / reduction.factor + shift_x for x in full[::2])
    top, bottom = (y / reduction.factor + shift_y for y in full[1::2])
    window = image.crop((floor(left), floor(top), ceil(right), ceil(bottom)))
    box = left - floor(left), top - floor(top), right - floor(left), bottom - floor(top)
    down, across = target_size(full[3] - full[1], full[2] - full[0], spec)
    resized = window.resize((across, down), Image.Resampling.BILINEAR, box)
    return DecodedImage(pad_to_target(channels_of_image(resized, spec.channels), spec))
