"""SVHN's cropped digits, and other MATLAB 5 files of images: train_32x32.mat, test_32x32.mat, extra_32x32.mat.

X is 32 x 32 x 3 x n, and y is the digit, with 10 for the digit 0.
"""

from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np

from limpid.data.readers.array_roles import NamedArray, array_in_memory
from limpid.data.readers.arrays import listing_from_arrays
from limpid.data.readers.listing import ImageListing, LeftOutCounter
from limpid.data.readers.matlab import matlab_arrays
from limpid.data.readers.messages import one_line
from limpid.data.readers.npy import stamp_of
from limpid.runtime.terminal import printable

SVHN_FILES = ("train_32x32.mat", "test_32x32.mat", "extra_32x32.mat")
EXTRA = "files of further training images: name one with --data.root to train on it alone"


def is_svhn_folder(root: Path) -> bool:
    """Whether a folder holds SVHN's training or test images."""
    return any((root / name).is_file() for name in SVHN_FILES[:2])


def scan_matlab(root: Path, label: str = "") -> ImageListing:
    """The images of a MATLAB 5 file, or of a folder of SVHN with its training and test split.

    Raises ValueError if they cannot be read.
    """
    left_out = LeftOutCounter()
    try:
        files = [root] if root.is_file() else [root / name for name in SVHN_FILES[:2] if (root / name).is_file()]
        arrays = [array for file in files for array in _arrays(file, left_out, root.is_dir())]
        if any(file.name in SVHN_FILES for file in files) and label != "none":
            arrays.append(array_in_memory("class_names", np.array([*"0123456789"])))
        if root.is_dir() and (root / SVHN_FILES[2]).is_file():
            left_out.add(EXTRA, SVHN_FILES[2])
        return listing_from_arrays(root, arrays, stamp_of(*files), label, left_out.records())
    except Exception as error:  # zlib and numpy raise many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(root))}: {one_line(error)}") from error


def _arrays(path: Path, left_out: LeftOutCounter, with_split: bool) -> list[NamedArray]:
    """The arrays of a file, named after its split if that is wanted, with the digit 0 as 0 in the files of SVHN."""
    arrays = matlab_arrays(path, left_out)
    if path.name in SVHN_FILES:
        arrays = [each._replace(blocks=partial(_digits, each)) if each.name == "y" else each for each in arrays]
    split = f"{path.name.split('_')[0]}_" if with_split else ""
    return [array._replace(name=split + array.name) for array in arrays]


def _digits(labels: NamedArray, rows: int) -> Generator[np.ndarray, None, None]:
    """The digits of SVHN, whose 0 is labelled 10. Raises ValueError for a label that is none."""
    for block in labels.blocks(rows):
        if block.min() < 0 or block.max() > 10:
            raise ValueError(f"its labels are {block.min():g} to {block.max():g}: expected 1 to 10")
        yield np.where(block == 10, 0, block).astype(np.int64)
