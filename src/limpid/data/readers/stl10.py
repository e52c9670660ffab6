"""STL-10 as its authors publish it: a folder of train_X.bin, train_y.bin, test_X.bin and test_y.bin.

An image is three planes of 96 columns of 96 bytes, a label one byte from 1 to 10. Layout: https://cs.stanford.edu/~acoates/stl10/
"""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from limpid.data.readers.array_layout import column_major_layout
from limpid.data.readers.array_roles import NamedArray, array_in_memory
from limpid.data.readers.arrays import listing_from_arrays
from limpid.data.readers.listing import ImageListing, LeftOut
from limpid.data.readers.messages import one_line
from limpid.data.readers.npy import blocks_from_file, stamp_of
from limpid.runtime.terminal import printable

PLANES = (3, 96, 96)
MAX_NAMES_BYTES = 2**16
UNLABELED = "unlabeled_X.bin"


def is_stl10_folder(root: Path) -> bool:
    """Whether a folder holds the files of the set, or the folder that the published archive has."""
    return any((_folder(root) / f"{split}_X.bin").is_file() for split in ("train", "test"))


def _folder(root: Path) -> Path:
    inside = root / "stl10_binary"
    return inside if inside.is_dir() else root


def scan_stl10(root: Path, label: str = "") -> ImageListing:
    """The labelled images of STL-10, with its training and test split. Raises ValueError for files that are broken."""
    try:
        folder = _folder(root)
        files = [folder / f"{split}_{what}.bin" for split in ("train", "test") for what in "Xy"]
        files = [file for file in files if file.is_file()]
        arrays = [_images(file) if file.name.endswith("X.bin") else _labels(file) for file in files]
        if (names := folder / "class_names.txt").is_file() and label != "none":
            with names.open("rb") as file:
                words = file.read(MAX_NAMES_BYTES).decode("utf-8").split()
            arrays.append(array_in_memory("class_names", np.array(words, np.str_)))
        unlabeled = (LeftOut("files of images without labels", 1, (UNLABELED,)),)
        left_out = unlabeled if (folder / UNLABELED).is_file() else ()
        return listing_from_arrays(root, arrays, stamp_of(*files), label, left_out)
    except Exception as error:
        raise ValueError(f"cannot read {printable(str(root))}: {one_line(error)}") from error


def _images(path: Path) -> NamedArray:
    """The images of a file. Raises ValueError if it is no number of complete images."""
    size, row = path.stat().st_size, np.prod(PLANES).item()
    if size % row:
        raise ValueError(f"{path.name} has {size:,} bytes: expected {row:,} for each image")
    shape = (size // row, *PLANES)
    with path.open("rb") as file:
        checksum = b"%d %d" % (size, crc32(file.read(2**14)))
    blocks = partial(_blocks, path, shape)
    return NamedArray(path.stem, shape, np.dtype(np.uint8), blocks, checksum, column_major_layout(shape))


def _labels(path: Path) -> NamedArray:
    """The labels of a file, counted from 0."""
    shape = (path.stat().st_size,)
    blocks = partial(_labels_from_zero, path, shape)
    with path.open("rb") as file:
        checksum = b"%d %d" % (shape[0], crc32(file.read(2**14)))
    return NamedArray(path.stem, shape, np.dtype(np.int16), blocks, checksum)


def _blocks(path: Path, shape: tuple[int, ...], rows: int) -> Generator[np.ndarray, None, None]:
    with path.open("rb") as file:
        yield from blocks_from_file(file, shape, np.dtype(np.uint8), rows)


def _labels_from_zero(path: Path, shape: tuple[int, ...], rows: int) -> Generator[np.ndarray, None, None]:
    for block in _blocks(path, shape, rows):
        yield block.astype(np.int16) - 1
