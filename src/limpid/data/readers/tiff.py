"""The samples of a TIFF as they are stored, of any number and type, by tifffile: Pillow reads up to four of 8 bits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from limpid.data.readers.fit import MAX_PIXELS, DecodedImage, ImageSpec, fit_array
from limpid.data.readers.tiff_directories import MIN_IS_WHITE, check_sizes, tiff_directories
from limpid.data.readers.values import ValueRange

if TYPE_CHECKING:
    from tifffile import TiffPage

MAX_TIFF_CHANNELS = 1024
"""Limit of the channels of an image."""
MAX_BYTES = 4 * MAX_PIXELS
"""Limit of the samples of an image, in bytes."""
MAX_LZW_RATIO = 4096
"""Largest ratio of compression that is believed; that of LZW, whose codes stand for at most so many bytes."""
COMPRESSIONS = {
    1: "none",
    5: "LZW",
    8: "deflate",
    32946: "the older deflate",
    32773: "PackBits",
    34925: "LZMA",
    50000: "Zstandard",
}
"""Compression methods that are read. Others, as JPEG, state a size of their own, which no limit here would hold."""
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(blob: bytes) -> bool:
    """Whether these are the bytes of a TIFF or a BigTIFF."""
    return blob.startswith(TIFF_SIGNATURES)


class TiffSamples(NamedTuple):
    """A page of a TIFF, upright, as height x width x samples."""

    values: np.ndarray
    bits: int
    """The bits of a value, which may be fewer than those of its type."""
    inverted: bool
    """Whether 0 is white."""


def fit_tiff(samples: TiffSamples, spec: ImageSpec) -> DecodedImage:
    """A page of a TIFF, with its channels as they are stored, as an image of `spec`. Raises as `fit_array` does."""
    values, bits, inverted = samples
    stated = spec.value_range
    if stated is None and values.dtype.kind == "u" and bits < 8 * values.dtype.itemsize:
        stated = ValueRange(0, 2**bits - 1)
    return fit_array(values, replace(spec, value_range=stated), inverted)


@contextmanager
def open_tiff(blob: bytes) -> Iterator[Callable[[int], TiffSamples]]:
    """A reader of the pages of a TIFF by their positions, which are given in ascending order.

    Opening and reading raise ValueError without tifffile, for other shapes and compressions and for too many pixels,
    and whatever tifffile raises.
    """
    try:
        from tifffile import TiffFile
    except ImportError as error:
        raise ValueError("its channels are read by tifffile: pip install 'limpid-diffusion[tiff]'") from error
    directories = enumerate(tiff_directories(blob))

    def check_up_to(page: int) -> None:
        """Check all that tifffile reads on its way to a page."""
        for number, entries in directories:
            check_sizes(entries)
            if number >= page:
                break

    check_up_to(0)
    with TiffFile(BytesIO(blob)) as file:

        def read(page: int) -> TiffSamples:
            if page:
                check_up_to(page)
            return tiff_samples(file.pages[page].aspage(), len(blob))

        yield read


def tiff_samples(page: "TiffPage", file_bytes: int) -> TiffSamples:
    """A page of a TIFF of so many bytes. Raises as `open_tiff` does."""
    if page.compression not in COMPRESSIONS:
        names = ", ".join(COMPRESSIONS.values())
        raise ValueError(f"its channels are compressed by method {int(page.compression)}: expected {names}")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"it is of {page.axes}: expected height x width x samples")
    if page.imagelength * page.imagewidth > MAX_PIXELS or page.samplesperpixel > MAX_TIFF_CHANNELS:
        size = f"{page.imagewidth}x{page.imagelength} pixels of {page.samplesperpixel} samples"
        raise ValueError(f"it claims {size}: expected at most {MAX_PIXELS:,} of {MAX_TIFF_CHANNELS:,}")
    limit = min(MAX_BYTES, MAX_LZW_RATIO * file_bytes)
    if (claimed := max(page.nbytes, prod(page.chunks) * page.nbytes // max(1, page.size))) > limit:
        raise ValueError(f"it claims {claimed:,} bytes: expected at most {limit:,}")
    samples, orientation = page.asarray(), int(page.tags.valueof("Orientation", 1))
    last = np.moveaxis(samples, 0, -1) if page.axes == "SYX" else samples.reshape(*samples.shape[:2], -1)
    return TiffSamples(upright(last, orientation), int(page.bitspersample), page.photometric == MIN_IS_WHITE)


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """An array of height x width x channels turned by the orientation of TIFF 6.0, 1 to 8."""
    turned = stored.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else stored
    turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
    return turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
