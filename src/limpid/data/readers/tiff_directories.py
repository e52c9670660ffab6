"""The directories of a TIFF, one for each page, and the sizes that they state, checked before anything trusts them."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

WHOLE_NUMBERS = (1, 3, 4, 16)
"""The types BYTE, SHORT, LONG and LONG8 of TIFF 6.0 and BigTIFF."""
SIZE_TAGS = {
    256: "ImageWidth",
    257: "ImageLength",
    259: "Compression",
    277: "SamplesPerPixel",
    278: "RowsPerStrip",
    284: "PlanarConfiguration",
    322: "TileWidth",
    323: "TileLength",
    32997: "ImageDepth",
    32998: "TileDepth",
}
"""Tags that are one whole number."""


class TiffEntry(NamedTuple):
    """A tag of a directory, the type of its values, and how many there are."""

    tag: int
    type: int
    length: int


class _Layout(NamedTuple):
    """The number formats of a kind of TIFF, and where the position of its first directory is."""

    number: str
    entry: str
    position: str
    first: int


CLASSIC, BIG = _Layout("H", "HHI4x", "I", 4), _Layout("Q", "HHQ8x", "Q", 8)


def tiff_directories(blob: bytes) -> Iterator[list[TiffEntry]]:
    """The tags of each page of a TIFF or BigTIFF, in order, to the last one that is in the file, and no page twice."""
    order = "<" if blob.startswith(b"II") else ">"
    layout = BIG if 43 in blob[2:4] else CLASSIC
    number, entry, position = (struct.Struct(order + form) for form in layout[:3])
    seen = {0}
    try:
        (at,) = position.unpack_from(blob, layout.first)
        while at not in seen:
            seen.add(at)
            (count,) = number.unpack_from(blob, at)
            start, end = at + number.size, at + number.size + count * entry.size
            if end > len(blob):
                return
            yield [TiffEntry(*found) for found in entry.iter_unpack(blob[start:end])]
            (at,) = position.unpack_from(blob, end)
    except (struct.error, OverflowError):  # it leads out of the file
        return


def check_sizes(entries: list[TiffEntry]) -> None:
    """Raise ValueError unless each size in a directory is one whole number.

    A size of several values is a tuple in Python, and a product of tuples and numbers fills all memory.
    """
    for entry in entries:
        if entry.tag in SIZE_TAGS and (entry.length != 1 or entry.type not in WHOLE_NUMBERS):
            raise ValueError(
                f"its {SIZE_TAGS[entry.tag]} has {entry.length:,} values of type {entry.type}: expected a number"
            )
