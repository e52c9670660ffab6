"""Images in HDF5 files: data sets named images, x or data, and labels or y, read a few rows at a time."""

from collections.abc import Generator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from limpid.data.readers.array_layout import column_major_layout
from limpid.data.readers.array_roles import NamedArray
from limpid.data.readers.arrays import listing_from_arrays
from limpid.data.readers.listing import ImageListing, LeftOutCounter
from limpid.data.readers.messages import one_line
from limpid.data.readers.npy import stamp_of
from limpid.runtime.terminal import printable

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MATLAB_SIGNATURE = b"MATLAB 7.3 MAT-file"
MAX_DATASETS = 1_000
MAX_RATIO = 2_000
"""Largest ratio of the bytes that a data set claims to those of the file; deflate reaches 1032."""


def is_hdf5(path: Path, head: bytes) -> bool:
    """Whether a file begins as HDF5, or as MATLAB 7.3, which is HDF5 after 512 bytes."""
    return head.startswith((HDF5_SIGNATURE, MATLAB_SIGNATURE))


def scan_hdf5(path: Path, label: str = "") -> ImageListing:
    """The images of an HDF5 file. Raises ValueError if it cannot be read, or has none."""
    try:
        import h5py
    except ImportError as error:
        raise ValueError("HDF5 is read by h5py: pip install 'limpid-diffusion[hdf5]'") from error
    left_out, found = LeftOutCounter(), dict[str, Any]()
    try:
        with h5py.File(path, "r") as file:

            def visit(name: str | bytes, each: object) -> bool | None:
                if isinstance(name, bytes):
                    left_out.add("names of data sets or groups that are not UTF-8", repr(name))
                elif isinstance(each, h5py.Dataset):
                    found[name] = each
                return True if len(found) > MAX_DATASETS else None

            file.visititems(visit)  # follows no link to another file
            arrays = [array for name, each in found.items() if (array := _array(path, name, each, left_out))]
        return listing_from_arrays(path, arrays, stamp_of(path), label, left_out.records())
    except Exception as error:  # h5py raises many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error


def _array(path: Path, name: str, dataset: Any, left_out: LeftOutCounter) -> NamedArray | None:
    """A data set of numbers or words; None for others, which are left out. Raises ValueError if it claims too much."""
    import h5py

    words = h5py.check_string_dtype(dataset.dtype)
    elsewhere = dataset.external or dataset.is_virtual
    if dataset.shape is None or elsewhere or (dataset.dtype.kind not in "buifS" and not words):
        left_out.add("data sets without numbers or words in this file", name)
        return None
    size = prod(dataset.shape) * dataset.dtype.itemsize
    if size > MAX_RATIO * path.stat().st_size:
        raise ValueError(f"its data set {name} claims {size:,} bytes, more than can be packed in the file")
    dtype = np.dtype("S255") if words else dataset.dtype
    checksum = f"{dataset.shape} {dataset.dtype} {path.stat().st_size}".encode()
    shape = tuple(dataset.shape)
    if _is_matlab(path) and len(shape) == 2 and shape[0] == 1:  # its column of n labels
        return NamedArray(name, shape[1:], dtype, partial(_column_blocks, path, name), checksum)
    layout = column_major_layout(shape) if _is_matlab(path) and len(shape) in (3, 4) else None
    return NamedArray(name, shape, dtype, partial(_blocks, path, name), checksum, layout)


def _is_matlab(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MATLAB_SIGNATURE)) == MATLAB_SIGNATURE


def _column_blocks(path: Path, name: str, rows: int) -> Generator[np.ndarray, None, None]:
    for block in _blocks(path, name, 1):
        yield from (block[0, start : start + rows] for start in range(0, block.shape[1], rows))


def _blocks(path: Path, name: str, rows: int) -> Generator[np.ndarray, None, None]:
    import h5py

    with h5py.File(path, "r") as file:
        dataset: Any = file[name]
        for start in range(0, dataset.shape[0], rows):
            block = dataset[start : start + rows]
            yield block.astype(np.str_) if block.dtype.kind == "O" else block
