"""CIFAR-10 as its authors publish it: in pickles ("python version") or flat records ("binary version"), in a folder or
an archive.

All forms are read to the same two arrays. Nothing in the files is executed, nothing is unpacked to disk, and reading
stops at the largest size that a batch can have. Layouts: https://www.cs.toronto.edu/~kriz/cifar.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np
from jaxtyping import Integer, UInt8

from limpid.data.readers.messages import one_line
from limpid.data.readers.published_files import read_published_files
from limpid.data.readers.safe_pickle import Record, array, unpickle

Cifar10Split: TypeAlias = Literal["train", "test"]
Arrays: TypeAlias = tuple[UInt8[np.ndarray, "n 3072"], Integer[np.ndarray, " n"]]
"""Pixels (the red plane, then green, then blue, each 32 rows of 32) and labels 0..9."""
Unchecked: TypeAlias = tuple[UInt8[np.ndarray, "..."], np.ndarray]

BATCHES: dict[Cifar10Split, tuple[str, ...]] = {
    "train": ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    "test": ("test_batch",),
}
PER_BATCH = 10_000
MAX_BATCH_BYTES = 2**25
"""Limit in bytes of a batch; the published ones have 31 million."""
MAX_ARCHIVE_BYTES = 2**28
"""Limit in bytes of an uncompressed archive; the published ones have 186 million."""


@dataclass(frozen=True)
class Layout:
    """One of the forms in which the set is published."""

    folder: str
    archive: str
    suffix: str
    decode: Callable[[bytes], Unchecked]

    def files(self, split: Cifar10Split) -> list[str]:
        """Names of the files that hold the split."""
        return [name + self.suffix for name in BATCHES[split]]


def _from_pickle(blob: bytes) -> Unchecked:
    batch = cast(dict[bytes, object], unpickle(blob))
    pixels, labels = array(cast(Record, batch[b"data"])), batch[b"labels"]
    # A list of itself, ten times over, and that nine times, would be an array of a billion.
    flat = isinstance(labels, list) and all(type(label) is int and 0 <= label <= 255 for label in labels)
    return pixels, np.array(labels if flat else [], np.uint8)


def _from_records(blob: bytes) -> Unchecked:
    records = np.frombuffer(blob, np.uint8).reshape(-1, 1 + 3072)
    return records[:, 1:], records[:, 0]


LAYOUTS = (
    Layout("cifar-10-batches-py", "cifar-10-python.tar.gz", "", _from_pickle),
    Layout("cifar-10-batches-bin", "cifar-10-binary.tar.gz", ".bin", _from_records),
)
SOUGHT = ", ".join(f"{layout.folder}, {layout.archive}" for layout in LAYOUTS)


def find_cifar10(root: Path, split: Cifar10Split) -> tuple[Path, Layout] | None:
    """The folder or archive at `root` or in it that holds the split, and its layout."""
    for layout in LAYOUTS:
        for folder in (root, root / layout.folder):
            if (folder / layout.files(split)[0]).is_file():
                return folder, layout
        for archive in (root, root / layout.archive):
            if archive.name == layout.archive and archive.is_file():
                return archive, layout
    return None


def read_cifar10(path: Path, layout: Layout, split: Cifar10Split) -> Arrays:
    """The split from the folder or archive at `path`. Raises ValueError, naming the file, if it is not as published."""
    files = layout.files(split)
    try:
        blobs = read_published_files(path, layout.folder, files, MAX_BATCH_BYTES, MAX_ARCHIVE_BYTES)
    except Exception as error:  # tarfile and gzip raise many exceptions for broken archives
        raise ValueError(f"cannot read {path}: {one_line(error)}") from error
    batches = [_checked(layout, blob, f"{path}: {file}") for file, blob in zip(files, blobs, strict=True)]
    pixels, labels = zip(*batches, strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


def _checked(layout: Layout, blob: bytes, name: str) -> Arrays:
    try:
        pixels, labels = layout.decode(blob)
    except Exception as error:  # a file that is something else can fail in any way
        raise ValueError(f"{name} is not a batch of CIFAR-10: {one_line(error)}") from error
    if pixels.shape != (PER_BATCH, 3072):
        raise ValueError(f"{name} has pixels of shape {pixels.shape}: expected ({PER_BATCH}, 3072)")
    if labels.shape != (PER_BATCH,) or labels.dtype.kind not in "iu" or not 0 <= labels.min() <= labels.max() <= 9:
        raise ValueError(f"{name} has labels that are not {PER_BATCH} whole numbers from 0 to 9")
    return pixels, labels
