"""Images in an .npz, numpy's zip of arrays: as `limpid sample --npz` writes them, and many others.

What the headers claim is compared with the size of the file before memory is allocated, and no object is unpickled.
Images are read one after another, so that memory holds only a few of them.
"""

import math
import zipfile
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from limpid.data.fingerprint import fingerprint_of_arrays
from limpid.data.readers.fit import MAX_PIXELS, DecodedImage, ImageSpec, fit_array
from limpid.data.readers.listing import ImageListing, Load
from limpid.data.readers.messages import one_line
from limpid.data.readers.zip_files import LONGEST_NAME, ZIP_METHODS
from limpid.runtime.terminal import printable

HEAD = 2**14
"""Limit in bytes of the header of an array; numpy writes 128."""
DEFLATED = 1032
"""Largest compression ratio of deflate (zlib's manual, 'Maximum compression factor')."""
MAX_IMAGES = 2**24
"""Limit of the number of images in an array."""
IMAGE_ARRAYS, LABELS_ARRAY, NAMES_ARRAY = ("images.npy", "arr_0.npy"), "labels.npy", "class_names.npy"
LONGEST_NAMES = 2**24
"""Limit in bytes of all class names together."""


class NpyHeader(NamedTuple):
    """The header of an array: the offset of its numbers, their shape and type."""

    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype


def scan_npz(path: Path) -> ImageListing:
    """The images of an .npz, numbered from 0. Raises ValueError if they are not uint8 of n x h x w x channels."""
    try:
        with zipfile.ZipFile(path) as packed:
            member = next((name for name in IMAGE_ARRAYS if name in packed.namelist()), None)
            if member is None:
                raise ValueError(f"it has no array {' or '.join(name.removesuffix('.npy') for name in IMAGE_ARRAYS)}")
            head = read_npy_header(packed, member)
            n, h, w, c = _as_images(head)
            labels, classes = _labels(packed, n)
            # The checksums of zip, which nobody has to compute; it may hold other arrays, which are no images.
            sums = {info.filename: b"%d" % info.CRC for info in packed.infolist()}
            content = fingerprint_of_arrays(n, sums[member], b" ", sums.get(LABELS_ARRAY, b""))
        about = path.stat()
    except Exception as error:  # zipfile and numpy raise many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error
    stamp, together = f"{about.st_size} {about.st_mtime_ns}", max(1, min(64, 2**22 // (h * w * c)))
    loads = partial(read_rows, path, member, head.begin, (h, w, c))
    return ImageListing(path, range(n), labels, classes, stamp, loads, block_size=together, content=content)


def read_rows(
    path: Path, member: str, begin: int, shape: tuple[int, int, int], chosen: Bool[np.ndarray, " n"]
) -> Iterator[Load]:
    """A reader for each image of an array that the mask selects. Raises ValueError if the array ends early."""
    try:
        with zipfile.ZipFile(path) as packed, packed.open(member) as file:
            file.read(begin)
            for wanted in chosen:
                row = file.read(math.prod(shape))
                if len(row) < math.prod(shape):
                    raise ValueError(f"{member} ends early")
                if wanted:
                    yield partial(_from_row, np.frombuffer(row, np.uint8).reshape(shape))
    except Exception as error:  # zipfile raises many exceptions for broken archives
        raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error


def read_npy_header(packed: zipfile.ZipFile, member: str) -> NpyHeader:
    """The header of an array. Raises ValueError, among others, if it claims objects or more than the file holds."""
    info = packed.getinfo(member)
    if info.compress_type not in ZIP_METHODS:
        raise ValueError(f"{member} is packed by another method than zip's usual, deflate")
    with packed.open(info) as file:
        start = BytesIO(file.read(HEAD))
    version = np.lib.format.read_magic(start)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{member} is an array of version {version}: expected (1, 0) or (2, 0)")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(start)
    if fortran or dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"{member} is no array of numbers in C order")
    if start.tell() + math.prod(shape) * dtype.itemsize != info.file_size:
        raise ValueError(f"{member} claims the shape {shape}, and is of another length")
    there = min(info.compress_size, Path(str(packed.filename)).stat().st_size)
    if info.file_size > DEFLATED * (there + 1):
        raise ValueError(f"{member} claims more than can be packed in it")
    return NpyHeader(start.tell(), shape, dtype)


def _as_images(head: NpyHeader) -> tuple[int, int, int, int]:
    """Number, height, width and channels of the images in an array; without the last it is grey."""
    shape = (*head.shape, 1) if len(head.shape) == 3 else head.shape
    if head.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3, 4):
        raise ValueError(f"its images are {head.dtype} of shape {head.shape}: expected uint8 of n x h x w x 1, 3 or 4")
    n, h, w, c = shape
    if not (1 <= n <= MAX_IMAGES and 1 <= h * w <= MAX_PIXELS):
        limits = f"expected 1 to {MAX_IMAGES:,}, of at most {MAX_PIXELS:,} pixels"
        raise ValueError(f"it has {n} images of {h}x{w}: {limits}")
    return n, h, w, c


def _labels(packed: zipfile.ZipFile, n: int) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """The labels of n images and the names of the classes; zeros and no names where there are none.

    Without an array of names the labels are renumbered from 0, and their former values are the names.
    """
    head = read_npy_header(packed, LABELS_ARRAY) if LABELS_ARRAY in packed.namelist() else None
    if head is None or head.shape == (0,):
        return np.zeros(n, np.int64), ()
    if head.dtype.kind not in "iu" or head.shape != (n,):
        raise ValueError(f"its labels are {head.dtype} of shape {head.shape}: expected {n} whole numbers")
    given, names = _values(packed, LABELS_ARRAY, head), _class_names(packed)
    if not names:
        found, labels = np.unique(given, return_inverse=True)
        return labels.astype(np.int64), tuple(str(value) for value in found.tolist())
    if given.min() < 0 or given.max() >= len(names):
        raise ValueError(f"its labels are {given.min()} to {given.max()}, and it names {len(names)} classes")
    return given.astype(np.int64), names


def _class_names(packed: zipfile.ZipFile) -> tuple[str, ...]:
    """The names of the classes in the order of their labels; empty if the archive has none."""
    head = read_npy_header(packed, NAMES_ARRAY) if NAMES_ARRAY in packed.namelist() else None
    if head is None or head.shape == (0,):
        return ()
    if head.dtype.kind != "U" or len(head.shape) != 1 or head.shape[0] * head.dtype.itemsize > LONGEST_NAMES:
        expected = f"a row of words, of at most {LONGEST_NAMES:,} bytes"
        raise ValueError(f"its class names are {head.dtype} of shape {head.shape}: expected {expected}")
    names = [str(name) for name in _values(packed, NAMES_ARRAY, head).tolist()]
    if long := [name for name in names if len(name) > LONGEST_NAME]:
        raise ValueError(f"a class name in it, {long[0][:60]!r}, is longer than {LONGEST_NAME} letters")
    return tuple(map(printable, names))


def _values(packed: zipfile.ZipFile, member: str, head: NpyHeader) -> np.ndarray:
    """All values of an array whose size was checked."""
    with packed.open(member) as file:
        file.read(head.begin)
        return np.frombuffer(file.read(), head.dtype)


def _from_row(row: UInt8[np.ndarray, "h w c"], frame: ImageSpec) -> DecodedImage:
    return fit_array(row, frame)
