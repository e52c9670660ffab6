"""The directories of a TIFF, one for each page, and the sizes that they state, checked before anything trusts them."""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

WHOLE_NUMBERS = BYTE, SHORT, LONG, LONG8 = 1, 3, 4, 16
"""The types of whole numbers in TIFF 6.0 and BigTIFF."""
NEW_SUBFILE_TYPE, PHOTOMETRIC, SAMPLES_PER_PIXEL = 254, 262, 277
REDUCED, MASK = 1, 4
"""Bits of NewSubfileType."""
MIN_IS_WHITE, MIN_IS_BLACK = 0, 1
"""Values of PhotometricInterpretation: whether 0 is white or black."""
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
    """A tag of a directory, the type of its values, how many there are, and the first of them."""

    tag: int
    type: int
    length: int
    value: int
    """As a whole number; the position of the values in the file where there is no room for them in the entry."""


TiffDirectory: TypeAlias = list[TiffEntry]
"""The tags of a page."""


class _Layout(NamedTuple):
    """The number formats of a kind of TIFF, and where the position of its first directory is."""

    number: str
    entry: str
    position: str
    first: int


CLASSIC, BIG = _Layout("H", "HHI4s", "I", 4), _Layout("Q", "HHQ8s", "Q", 8)


def tiff_directories(blob: bytes) -> Iterator[TiffDirectory]:
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
            yield [
                TiffEntry(tag, kind, length, _value(order, kind, stored))
                for tag, kind, length, stored in entry.iter_unpack(blob[start:end])
            ]
            (at,) = position.unpack_from(blob, end)
    except (struct.error, OverflowError):  # it leads out of the file
        return


def _value(order: str, kind: int, stored: bytes) -> int:
    """The first whole number in the last bytes of an entry."""
    size = {BYTE: 1, SHORT: 2, LONG: 4}.get(kind, len(stored))
    return int.from_bytes(stored[:size], "little" if order == "<" else "big")


def full_pages(directories: Iterable[TiffDirectory]) -> list[int]:
    """The positions of the pages of a TIFF, without reduced copies of others and masks of their transparency."""

    def is_full(entries: TiffDirectory) -> bool:
        values = {entry.tag: entry.value for entry in entries}
        return not values.get(NEW_SUBFILE_TYPE, 0) & (REDUCED | MASK)

    return [i for i, entries in enumerate(directories) if is_full(entries)]


def is_grey(entries: TiffDirectory) -> bool:
    """Whether a page has one channel that is no palette."""
    values = {entry.tag: entry.value for entry in entries}
    return values.get(PHOTOMETRIC) in (MIN_IS_WHITE, MIN_IS_BLACK) and values.get(SAMPLES_PER_PIXEL, 1) == 1


def check_sizes(entries: TiffDirectory) -> None:
    """Raise ValueError unless each size in a directory is one whole number.

    A size of several values is a tuple in Python, and a product of tuples and numbers fills all memory.
    """
    for entry in entries:
        if entry.tag in SIZE_TAGS and (entry.length != 1 or entry.type not in WHOLE_NUMBERS):
            raise ValueError(
                f"its {SIZE_TAGS[entry.tag]} has {entry.length:,} values of type {entry.type}: expected a number"
            )
