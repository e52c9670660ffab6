"""Arrays in MATLAB 5 files (.mat), with images along their last axis, as SVHN has them in train_32x32.mat.

A file is a header of 128 bytes and elements: a type and a size, 4 bytes each, and data, which may be an array or one
packed by zlib. Arrays are stored columns first, so images along the last axis are read one by one. Layout: MAT-File
Format (MathWorks), level 5. MATLAB 7.3 writes HDF5, which another reader reads.
"""

import zlib
from collections.abc import Generator
from functools import partial
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from limpid.data.readers.array_layout import column_major_layout
from limpid.data.readers.array_roles import NamedArray
from limpid.data.readers.listing import LeftOutCounter
from limpid.data.readers.npy import DEFLATED, Readable, blocks_from_file

HEADER_SIZE = 128
BYTE_ORDERS = {b"IM": "<", b"MI": ">"}
STORED_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
ARRAY_TYPES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Types of numbers by their numbers in the format: of an element, and of the class of an array."""
MATRIX, COMPRESSED = 14, 15
COMPLEX = 8
"""Flag of an array with an imaginary part."""
MAX_ELEMENTS, MAX_NAME, MAX_AXES = 1_000, 255, 32
INFLATED_AT_ONCE = 2**16


class Inflated:
    """What an element packed by zlib decompresses to, as far as it is read."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.left = file, size
        self.decompressor, self.tail = zlib.decompressobj(), b""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, fewer at the end. Raises zlib.error for broken data."""
        parts = []
        while size > 0 and not self.decompressor.eof:
            if not self.tail:
                self.tail = self.file.read(min(self.left, INFLATED_AT_ONCE))
                self.left -= len(self.tail)
            ended = not self.tail
            parts.append(self.decompressor.decompress(self.tail, size))
            size -= len(parts[-1])
            self.tail = self.decompressor.unconsumed_tail
            if ended and not parts[-1]:
                break
        return b"".join(parts)


class MatHeader(NamedTuple):
    """The header of an array: its name, shape (MATLAB's, reversed), and the types of its values and as stored."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    stored: np.dtype
    small: bytes | None
    """Its values where they are four bytes at most, which are stored in the tag."""


def is_matlab(path: Path, head: bytes) -> bool:
    """Whether a file with these first bytes is MATLAB 5."""
    return len(head) > HEADER_SIZE and head[126:128] in BYTE_ORDERS and head[124:126] in (b"\0\1", b"\1\0")


def matlab_arrays(path: Path, left_out: LeftOutCounter) -> list[NamedArray]:
    """The arrays of numbers of a MATLAB 5 file that can be images or labels; others are counted in `left_out`.

    Raises ValueError, among others, if the file is broken or claims more than it holds.
    """
    arrays, size = list[NamedArray](), path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER_SIZE)
        if not is_matlab(path, head + b"\0"):
            raise ValueError(f"{path.name} is no file of MATLAB 5")
        order, position = BYTE_ORDERS[head[126:128]], HEADER_SIZE
        while position + 8 <= size and len(arrays) < MAX_ELEMENTS:
            kind, count = np.frombuffer(file.read(8), f"{order}u4").tolist()
            position += 8 + count
            if position > size:
                raise ValueError(f"{path.name} ends before an element that it claims")
            if kind in (MATRIX, COMPRESSED):
                start = position - count
                array = _array(path, order, start, count, kind == COMPRESSED, left_out)
                arrays += [array] if array else []
            file.seek(position)
    return arrays


def _array(path: Path, order: str, start: int, count: int, packed: bool, left_out: LeftOutCounter) -> NamedArray | None:
    """An array of images or labels that begins at `start`; None for another value, which is left out."""
    with path.open("rb") as file:
        opened, limit = _open(file, order, start, count, packed)
        found = _header(opened, order, limit)
        if isinstance(found, str):
            left_out.add("values other than arrays of images or labels", found)
            return None
        checksum = f"{found.name} {found.shape} {found.stored} {count}".encode()
        file.seek(start)
        checksum += b" %d" % zlib.crc32(file.read(min(count, 2**14)))
    blocks = partial(_blocks, path, order, start, count, packed, found)
    if len(found.shape) == 2:
        return NamedArray(found.name, (prod(found.shape),), found.dtype, blocks, checksum)
    return NamedArray(found.name, found.shape, found.dtype, blocks, checksum, column_major_layout(found.shape))


def _open(file: IO[bytes], order: str, start: int, count: int, packed: bool) -> tuple[Readable, int]:
    """The content of an array, and a limit of its length."""
    file.seek(start)
    if not packed:
        return file, count
    inflated = Inflated(file, count)
    kind, length = np.frombuffer(inflated.read(8), f"{order}u4").tolist()
    if kind != MATRIX or length > DEFLATED * count:
        raise ValueError(f"it has an element of type {kind} and {length:,} bytes in {count:,} packed ones")
    return inflated, length


def _header(file: Readable, order: str, limit: int) -> MatHeader | str:
    """The header of an array; of a value that is none of images or labels, its name.

    Raises ValueError if it claims more bytes than `limit`.
    """
    flags = np.frombuffer(_element(file, order, 16)[1], f"{order}u4")
    shape = tuple(reversed(np.frombuffer(_element(file, order, 4 * MAX_AXES)[1], f"{order}i4").tolist()))
    name = _element(file, order, MAX_NAME)[1].decode("ascii", "replace")
    dtype = ARRAY_TYPES.get(int(flags[0]) & 255)
    row = len(shape) == 2 and 1 in shape
    if dtype is None or int(flags[0]) >> 8 & COMPLEX or not (row or len(shape) in (3, 4)):
        return name or "one without a name"
    kind, claimed, small = _tag(file, order)
    if kind not in STORED_TYPES:
        raise ValueError(f"its array {name} is stored as the type {kind}, which is none of numbers")
    stored = np.dtype(f"{order}{STORED_TYPES[kind]}")
    if min(shape) < 1 or prod(shape) * stored.itemsize != claimed or claimed > limit:
        raise ValueError(f"its array {name} claims the shape {shape[::-1]}, and is of another length")
    return MatHeader(name, shape, np.dtype(dtype), stored, small)


def _tag(file: Readable, order: str) -> tuple[int, int, bytes | None]:
    """The type and size of an element, and its data where the tag itself holds them: four bytes at most."""
    blob = file.read(8)
    if len(blob) < 8:
        raise ValueError("it ends in the header of an array")
    kind, size = np.frombuffer(blob, f"{order}u4").tolist()
    if kind >> 16:
        return kind & 0xFFFF, kind >> 16, blob[4 : 4 + (kind >> 16)]
    return kind, size, None


def _element(file: Readable, order: str, limit: int) -> tuple[int, bytes]:
    """The type and data of an element of the header of an array. Raises ValueError if it is too long, or missing."""
    kind, size, small = _tag(file, order)
    if small is not None:
        return kind, small
    if not 0 < size <= limit:
        raise ValueError(f"the header of an array claims {size:,} bytes: expected at most {limit}")
    return kind, file.read(-(-size // 8) * 8)[:size]


def _blocks(
    path: Path, order: str, start: int, count: int, packed: bool, header: MatHeader, rows: int
) -> Generator[np.ndarray, None, None]:
    """The values along the last axis, in blocks. Raises ValueError if the file ends before them."""
    shape = header.shape if len(header.shape) > 2 else (prod(header.shape),)
    with path.open("rb") as file:
        opened, limit = _open(file, order, start, count, packed)
        _header(opened, order, limit)  # the values are what follows it
        values = BytesIO(header.small) if header.small is not None else opened
        for block in blocks_from_file(values, shape, header.stored, rows):
            yield block.astype(header.dtype)
