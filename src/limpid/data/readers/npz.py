"""Images in .npz and .npy files, and in folders of .npy: one array of all, an array for each split, or one an image."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import compress
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from limpid.data.fingerprint import fingerprint_of_files
from limpid.data.readers.array_layout import has_own_range, image_from_row, layout_from_shape, range_of
from limpid.data.readers.array_roles import NamedArray, role_of
from limpid.data.readers.arrays import listing_from_arrays
from limpid.data.readers.fit import DecodedImage, ImageSpec
from limpid.data.readers.labels import classes_of
from limpid.data.readers.listing import ImageListing, LeftOut, LeftOutCounter, Load
from limpid.data.readers.messages import one_line
from limpid.data.readers.npy import array_in_file, array_in_zip, stamp_of
from limpid.data.readers.scan import MAX_FILE_BYTES
from limpid.data.readers.values import ValueRange
from limpid.runtime.terminal import printable

RANGE_FILES = 64
"""Number of files by which the range of values is found."""
FEW = 4
"""Axes up to this length may be channels."""
MAX_ARRAYS = 10_000
"""Limit of the number of arrays in a file."""


def scan_npz(path: Path, label: str = "") -> ImageListing:
    """The images of an .npz, numbered from 0 or by its splits. Raises ValueError if it cannot be read, or has none."""
    try:
        arrays, unread = arrays_in_npz(path)
        return listing_from_arrays(path, arrays, stamp_of(path), label, unread)
    except Exception as error:  # zipfile and numpy raise many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error


def arrays_in_npz(path: Path) -> tuple[list[NamedArray], tuple[LeftOut, ...]]:
    """The arrays of an .npz, and those that cannot be read. Raises ValueError, among others, if these are images."""
    with zipfile.ZipFile(path) as packed:
        members = [info for info in packed.infolist() if info.filename.endswith(".npy")]
        if len(members) > MAX_ARRAYS:
            raise ValueError(f"it has {len(members):,} arrays: expected at most {MAX_ARRAYS:,}")
        arrays, unread = list[NamedArray](), LeftOutCounter()
        for info in members:
            try:
                arrays.append(array_in_zip(packed, path, info.filename))
            except ValueError:
                if role_of(info.filename.removesuffix(".npy")).kind:
                    raise
                unread.add("arrays that cannot be read", info.filename)
    return arrays, unread.records()


def scan_npy(path: Path, label: str = "") -> ImageListing:
    """The images of a .npy. Raises ValueError if it cannot be read, or has none."""
    try:
        array = array_in_file(path)
        return listing_from_arrays(path, [array._replace(name="images")], stamp_of(path))
    except Exception as error:
        raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error


def scan_npy_files(root: Path, names: list[str], label: str = "") -> ImageListing:
    """The images of a folder of .npy: of arrays named as those of an .npz, of the only one, or of an image each, in
    folders of classes.

    Raises ValueError for an array that is no image.
    """
    if any(role_of(name.removesuffix(".npy")).kind == "image" for name in names):
        try:
            files = [root / name for name in sorted(names)]
            return listing_from_arrays(root, [array_in_file(file) for file in files], stamp_of(*files), label)
        except Exception as error:
            raise ValueError(f"cannot read {printable(str(root))}: {one_line(error)}") from error
    if len(names) == 1 and _holds_images(root / names[0]):
        return scan_npy(root / names[0], label)
    names = sorted(names, key=os.fsencode)
    files = [root / name for name in names]
    number_range = _range_of_files(files)

    def loads(chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
        return (partial(_image_from_file, file, number_range) for file in compress(files, chosen))

    content = fingerprint_of_files(
        (os.fsencode(name), file.stat().st_size) for name, file in zip(names, files, strict=True)
    )
    values = f", values in [{number_range.black:g}, {number_range.white:g}]" if number_range else ""
    note = f"an image in each .npy{values}"
    return ImageListing(root, names, *classes_of(names), stamp_of(*files), loads, notes=(note,), content=content)


def _holds_images(path: Path) -> bool:
    """Whether an array has more axes than an image, or as many and more of the last than an image has channels."""
    try:
        shape = array_in_file(path).shape
    except Exception:  # it is refused when it is read
        return False
    return len(shape) == 4 or (len(shape) == 3 and min(shape[0], shape[2]) > FEW)


def _range_of_files(files: list[Path]) -> ValueRange | None:
    """The range of the values of the first files where their type does not say it."""
    ranges: list[ValueRange | None] = []
    for file in files[:RANGE_FILES]:
        try:
            row = _values(file)
        except ValueError:  # it is refused when it is read
            continue
        ranges += [] if has_own_range(row.dtype) else [range_of(row)]
    known = [each for each in ranges if each]
    return min(known) if known and len(known) == len(ranges) else None  # [-1, 1] where one of them needs it


def _image_from_file(file: Path, number_range: ValueRange | None, spec: ImageSpec) -> DecodedImage:
    """The image in a .npy. Raises ValueError if it cannot be read, or is none."""
    values = _values(file)
    return image_from_row(values, layout_from_shape((1, *values.shape)), number_range, spec)


def _values(file: Path) -> np.ndarray:
    try:
        array = array_in_file(file)
        if array.dtype.kind not in "buif" or not 2 <= len(array.shape) <= 3:
            raise ValueError(f"it is an array {array}: expected the values of an image")
        if prod(array.shape) * array.dtype.itemsize > MAX_FILE_BYTES or 0 in array.shape:
            raise ValueError(f"it is an array {array}: expected 1 to {MAX_FILE_BYTES:,} bytes")
        with closing(array.blocks(array.shape[0])) as blocks:
            return next(blocks)
    except Exception as error:
        raise ValueError(one_line(error)) from error
