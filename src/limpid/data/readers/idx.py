"""Images in idx files, as MNIST, Fashion-MNIST, KMNIST and EMNIST have them: train-images-idx3-ubyte, also .gz.

A file is four bytes (two zeros, the type of the numbers, the number of axes), the sizes of the axes, and the numbers,
all big-endian. Layout: http://yann.lecun.com/exdb/mnist/
"""

import gzip
import math
import re
from collections.abc import Generator
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from zlib import crc32

import numpy as np

from limpid.data.left_out import NUM_EXAMPLES, LeftOut
from limpid.data.readers.array_layout import ArrayLayout
from limpid.data.readers.array_roles import NamedArray
from limpid.data.readers.arrays import listing_from_arrays
from limpid.data.readers.listing import ImageListing
from limpid.data.readers.messages import one_line
from limpid.data.readers.npy import DEFLATED, blocks_from_file, stamp_of
from limpid.runtime.terminal import printable

NUMBER_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
GZIP = b"\x1f\x8b"
IDX_NAMES = re.compile(r"(.*/)?((.*)[-.])?(images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?", re.IGNORECASE)

TWINS = ".gz files beside the same arrays unpacked"
"""What the compressed files are called that torchvision leaves in its folder `raw`."""


def is_idx(path: Path, head: bytes) -> bool:
    """Whether a file with these first bytes is idx, or idx packed by gzip."""
    if head.startswith(GZIP):
        try:
            with gzip.open(path) as file:
                head = file.read(4)
        except Exception:  # it is another file, or a broken one
            return False
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in NUMBER_TYPES and 1 <= head[3] <= 4


def scan_idx(path: Path, label: str = "") -> ImageListing:
    """The images of an idx file, with the labels of the file beside it if there is one.

    Raises ValueError if it cannot be read.
    """
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    files = [path, path.with_name(name)]
    return _listing(path, [file for file in files if file.is_file()] if name != path.name else [path], label)


def scan_idx_files(root: Path, names: list[str], label: str = "") -> ImageListing:
    """The images of the idx files of a folder, by their splits. Raises ValueError for those of several sets.

    A .gz beside the same file unpacked, as torchvision leaves them, is left out.
    """
    sets = {re.sub("(train|test|t10k)$", "", match[3] or "") for name in names if (match := IDX_NAMES.fullmatch(name))}
    if len(sets) > 1:
        found = ", ".join(sorted(printable(each) for each in sets))
        raise ValueError(f"{printable(str(root))} has several sets: {found}: name one file of images with --data.root")
    twins = sorted({name for name in names if name.lower().endswith(".gz")} & {f"{name}.gz" for name in names})
    left_out = (LeftOut(TWINS, len(twins), tuple(twins[:NUM_EXAMPLES])),) if twins else ()
    return _listing(root, [root / name for name in sorted(set(names) - set(twins))], label, left_out)


def _listing(root: Path, files: list[Path], label: str, left_out: tuple[LeftOut, ...] = ()) -> ImageListing:
    try:
        arrays = [_array(file) for file in files]
        transposed = any(array.layout for array in arrays)
        notes = ("EMNIST's images are stored transposed, and are turned upright",) if transposed else ()
        return listing_from_arrays(root, arrays, stamp_of(*files), label, left_out, notes)
    except Exception as error:  # gzip raises many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(root))}: {one_line(error)}") from error


def _array(path: Path) -> NamedArray:
    """The array of an idx file, called as its name says: train_images. Raises ValueError if it is not complete."""
    with path.open("rb") as file:
        first = file.read(2**14)
    packed, size = first.startswith(GZIP), path.stat().st_size
    with _open(path, packed) as file:
        begin = file.read(4)
        if len(begin) < 4 or begin[:2] != b"\0\0" or begin[2] not in NUMBER_TYPES or not 1 <= begin[3] <= 4:
            raise ValueError(f"{path.name} begins with {begin!r}, which is no idx")
        sizes = file.read(4 * begin[3])
    if len(sizes) < 4 * begin[3]:
        raise ValueError(f"{path.name} ends in its header")
    shape, dtype = tuple(np.frombuffer(sizes, ">u4").tolist()), np.dtype(NUMBER_TYPES[begin[2]])
    claimed, header = math.prod(shape) * dtype.itemsize, 4 + len(sizes)
    if claimed + header != size if not packed else claimed > DEFLATED * size:
        raise ValueError(f"{path.name} claims the shape {shape}, and is of another length")
    stem = re.sub(r"[-.]idx\d-ubyte(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    *rest, kind = re.split("[-._]", stem)
    name = f"{rest[-1] if rest else ''}_{kind}".strip("_") if kind in ("images", "labels") else "images"
    blocks = partial(_blocks, path, packed, header, shape, dtype)
    emnist = "emnist" in path.name.lower() and len(shape) == 3
    layout = ArrayLayout(shape[2], shape[1], 1, "grey, transposed", _upright) if emnist else None
    return NamedArray(name, shape, dtype, blocks, b"%d %d" % (size, crc32(first)), layout)


def _upright(row: np.ndarray) -> np.ndarray:
    return row.T[:, :, None]


def _open(path: Path, packed: bool) -> BufferedIOBase:
    return gzip.open(path) if packed else path.open("rb")


def _blocks(
    path: Path, packed: bool, header: int, shape: tuple[int, ...], dtype: np.dtype, rows: int
) -> Generator[np.ndarray, None, None]:
    with _open(path, packed) as file:
        file.read(header)
        yield from blocks_from_file(file, shape, dtype, rows)
