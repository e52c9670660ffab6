"""Which pages of a TIFF, or frames of an animation, are images of a set: the first, or all of them."""

from collections.abc import Callable, Sequence
from math import prod

from PIL import Image

from limpid.data.readers.fit import DecodedImage, ImageSpec

MAX_PAGES_BYTES = 2**28
"""Limit of the pixels of all pages of a file, converted, in bytes: they are in memory together."""


def frame_numbers(image: Image.Image, spec: ImageSpec) -> Sequence[int]:
    """The positions of the frames of an open image; of an animation that is not read in full, two of them."""
    if not getattr(image, "is_animated", False):
        return [0]
    return range(getattr(image, "n_frames", 1) if spec.pages == "all" else 2)  # to count the frames of a GIF is slow


def read_pages(pages: Sequence[int], read: Callable[[int], DecodedImage], spec: ImageSpec) -> DecodedImage:
    """The first of these pages, with the others if `spec` asks for all. Raises ValueError if they are too many."""
    first = read(pages[0])._replace(page=pages[0])
    if len(pages) == 1 or spec.pages == "first":
        return first._replace(has_more=len(pages) > 1)
    if (size := len(pages) * prod(spec.shape)) > MAX_PAGES_BYTES:
        raise ValueError(f"it has {len(pages):,} pages, {size:,} bytes: expected at most {MAX_PAGES_BYTES:,} bytes")
    return first._replace(others=tuple(read(page)._replace(page=page) for page in pages[1:]))
