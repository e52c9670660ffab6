"""Arrays in .npy files, and in .npz, numpy's zip of them: as `limpid sample --npz` writes them, and many others.

What the headers claim is compared with the size of the file before memory is allocated, and no object is unpickled.
Rows are read one block after another, so that memory holds only a few of them.
"""

import math
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable
from zlib import crc32

import numpy as np

from limpid.data.readers.array_roles import NamedArray
from limpid.data.readers.zip_files import ZIP_METHODS

HEADER_BYTES = 2**14
"""Limit in bytes of the header of an array; numpy writes 128."""
DEFLATED = 1032
"""Largest compression ratio of deflate (zlib's manual, 'Maximum compression factor')."""


@runtime_checkable
class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int = -1, /) -> bytes: ...


class NpyHeader(NamedTuple):
    """The header of an array: the offset of its numbers, their shape and type."""

    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype


def array_in_file(path: Path) -> NamedArray:
    """The array in a .npy file. Raises ValueError, among others, if it holds objects or is not as long as it claims."""
    with path.open("rb") as file:
        head, size = file.read(HEADER_BYTES), path.stat().st_size
    header = read_npy_header(head, size, path.name)
    blocks = partial(_blocks, partial(path.open, "rb"), header)
    return NamedArray(path.stem, header.shape, header.dtype, blocks, b"%d %d" % (size, crc32(head)))


def array_in_zip(packed: zipfile.ZipFile, path: Path, member: str) -> NamedArray:
    """An array of an .npz. Raises ValueError, among others, if it claims objects or more than the file holds."""
    info = packed.getinfo(member)
    if info.compress_type not in ZIP_METHODS:
        raise ValueError(f"{member} is packed by another method than zip's usual, deflate")
    with packed.open(info) as file:
        header = read_npy_header(file.read(HEADER_BYTES), info.file_size, member)
    if info.file_size > DEFLATED * (min(info.compress_size, path.stat().st_size) + 1):
        raise ValueError(f"{member} claims more than can be packed in it")
    opened = partial(_open_member, path, member)
    # The checksum of zip, which nobody has to compute.
    name, blocks = member.removesuffix(".npy"), partial(_blocks, opened, header)
    return NamedArray(name, header.shape, header.dtype, blocks, b"%d" % info.CRC)


def read_npy_header(head: bytes, size: int, name: str) -> NpyHeader:
    """The header of an array, from its first bytes and its size. Raises ValueError, among others, if they disagree."""
    start = BytesIO(head)
    version = np.lib.format.read_magic(start)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is an array of version {version}: expected (1, 0) or (2, 0)")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(start)
    if dtype.hasobject or dtype.fields or dtype.subdtype or min(shape, default=0) < 0:
        raise ValueError(f"{name} is no array of numbers or words, but of {str(dtype)[:60]}")
    if fortran and len(shape) > 1:
        raise ValueError(f"{name} is in Fortran order: expected C order, as np.ascontiguousarray makes it")
    if start.tell() + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name} claims the shape {shape}, and is of another length")
    return NpyHeader(start.tell(), shape, dtype)


@contextmanager
def _open_member(path: Path, member: str) -> Iterator[Readable]:
    with zipfile.ZipFile(path) as packed, packed.open(member) as file:
        yield file


def _blocks(
    opened: Callable[[], AbstractContextManager[Readable]], header: NpyHeader, rows: int
) -> Generator[np.ndarray, None, None]:
    """The rows of an array in blocks. Raises ValueError if the file ends before them."""
    with opened() as file:
        file.read(header.begin)
        yield from blocks_from_file(file, header.shape, header.dtype, rows)


def blocks_from_file(
    file: Readable, shape: tuple[int, ...], dtype: np.dtype, rows: int
) -> Generator[np.ndarray, None, None]:
    """The rows of an array of this shape that begins where the file is, in blocks of at most `rows` each.

    Raises ValueError if the file ends before them.
    """
    size = math.prod(shape[1:]) * dtype.itemsize
    for start in range(0, shape[0] if shape else 0, rows):
        n = min(rows, shape[0] - start)
        blob = file.read(n * size)
        if len(blob) < n * size:
            raise ValueError(f"it ends early, in row {start + len(blob) // size:,} of {shape[0]:,}")
        yield np.frombuffer(blob, dtype).reshape(n, *shape[1:]) if size else np.zeros((n, *shape[1:]), dtype)


def stamp_of(*files: Path) -> str:
    """The sizes and times of files, which change with them."""
    return " ".join(f"{status.st_size} {status.st_mtime_ns}" for status in (file.stat() for file in files))
