"""CIFAR-100 as its authors publish it: in pickles or flat records, in a folder or its .tar.gz.

The classes are the 100 fine labels, or with `--data.labels coarse` the 20 coarse ones. Nothing in the files is
executed. Layouts: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import gzip
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np
from jaxtyping import UInt8

from limpid.data.readers.array_roles import NamedArray, array_in_memory
from limpid.data.readers.arrays import listing_from_arrays
from limpid.data.readers.listing import ImageListing, OwnSplit
from limpid.data.readers.messages import one_line
from limpid.data.readers.npy import stamp_of
from limpid.data.readers.published_files import read_published_files
from limpid.data.readers.safe_pickle import Record, array, unpickle
from limpid.runtime.terminal import printable

LabelSet: TypeAlias = Literal["fine", "coarse"]
LABEL_SETS: tuple[LabelSet, ...] = ("fine", "coarse")
Cifar100Batch: TypeAlias = tuple[UInt8[np.ndarray, "n 3072"], dict[LabelSet, UInt8[np.ndarray, " n"]]]
"""Pixels (the red plane, then green, then blue, each 32 rows of 32), and both labels of each image."""
MAX_CIFAR100_FILE = 2**28
"""Limit in bytes of a file; the largest that is published has 155 million."""
MAX_CIFAR100_ARCHIVE = 2**29


@dataclass(frozen=True)
class Cifar100Layout:
    """One of the two forms in which the set is published."""

    folder: str
    files: tuple[str, ...]
    """The files of the training images, of the test images, and of the names of the classes."""
    batch: Callable[[bytes], Cifar100Batch]
    names: Callable[[list[bytes], LabelSet], list[str]]
    """The names of the classes of a kind of labels, from the files after the first two."""


def _batch_from_pickle(blob: bytes) -> Cifar100Batch:
    batch = cast(dict[bytes, object], unpickle(blob))
    pixels = array(cast(Record, batch[b"data"]))
    return pixels, {each: _bytes_from_list(batch[b"%s_labels" % each.encode()]) for each in LABEL_SETS}


def _bytes_from_list(values: object) -> UInt8[np.ndarray, " n"]:
    """Labels from a list. Raises ValueError unless all are whole numbers from 0 to 255: a list may hold itself."""
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value <= 255 for value in values):
        raise ValueError("its labels are no list of whole numbers from 0 to 255")
    return np.array(values, np.uint8)


def _names_from_pickle(blobs: list[bytes], labels: LabelSet) -> list[str]:
    names = cast(dict[bytes, object], unpickle(blobs[0]))[b"%s_label_names" % labels.encode()]
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise ValueError("its names of classes are no list of words")
    return [name.decode("utf-8", "replace") for name in names]


def _batch_from_records(blob: bytes) -> Cifar100Batch:
    records = np.frombuffer(blob, np.uint8).reshape(-1, 2 + 3072)
    return records[:, 2:], {"coarse": records[:, 0], "fine": records[:, 1]}


def _names_from_text(blobs: list[bytes], labels: LabelSet) -> list[str]:
    return blobs[LABEL_SETS.index(labels)].decode("utf-8").split()


CIFAR100_LAYOUTS = (
    Cifar100Layout("cifar-100-python", ("train", "test", "meta"), _batch_from_pickle, _names_from_pickle),
    Cifar100Layout(
        "cifar-100-binary",
        ("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"),
        _batch_from_records,
        _names_from_text,
    ),
)


def is_cifar100(path: Path, head: bytes) -> bool:
    """Whether a file is the published archive, by the folder that is first in it."""
    return head.startswith(b"\x1f\x8b") and _find_in_archive(path) is not None


def is_cifar100_folder(root: Path) -> bool:
    """Whether a folder holds the files of the set, or a folder or an archive with them."""
    return _find(root) is not None


def _find(root: Path) -> tuple[Path, Cifar100Layout] | None:
    """The folder or archive at `root` or in it that holds the set, and its layout."""
    if root.is_file():
        return _find_in_archive(root)
    for layout in CIFAR100_LAYOUTS:
        for folder in (root, root / layout.folder):
            if all((folder / name).is_file() for name in layout.files):
                return folder, layout
        archive = root / f"{layout.folder}.tar.gz"
        if archive.is_file():
            return archive, layout
    return None


def _find_in_archive(path: Path) -> tuple[Path, Cifar100Layout] | None:
    try:
        with gzip.open(path) as file:
            first = tarfile.TarInfo.frombuf(file.read(512), "utf-8", "surrogateescape").name
    except Exception:  # it is another file, or a broken one
        return None
    return next(((path, layout) for layout in CIFAR100_LAYOUTS if layout.folder == first.split("/")[0]), None)


def scan_cifar100(root: Path, label: str = "") -> ImageListing:
    """The images of CIFAR-100, with its training and test split; `label` is fine, coarse or none.

    Raises ValueError if the files are not as they are published.
    """
    try:
        if label not in ("", "none", *LABEL_SETS):
            raise ValueError(f"CIFAR-100 has no labels {label!r}: expected fine, coarse or none")
        found = _find(root)
        assert found
        path, layout = found
        train, test, *names = read_published_files(
            path, layout.folder, [*layout.files], MAX_CIFAR100_FILE, MAX_CIFAR100_ARCHIVE
        )
        arrays = [*_arrays("train", layout.batch(train)), *_arrays("test", layout.batch(test))]
        for each in LABEL_SETS:
            if each == (label or "fine"):
                arrays.append(array_in_memory("class_names", np.array(layout.names(names, each), np.str_)))
        files = [path] if path.is_file() else [path / name for name in layout.files]
        return listing_from_arrays(root, arrays, stamp_of(*files), label or "fine")
    except Exception as error:  # tarfile, gzip and pickle raise many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(root))}: {one_line(error)}") from error


def _arrays(split: OwnSplit, batch: Cifar100Batch) -> list[NamedArray]:
    pixels, labels = batch
    if pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise ValueError(f"its pixels of {split} are of shape {pixels.shape}: expected n x 3072")
    named = [array_in_memory(f"{split}_{each}", labels[each]) for each in LABEL_SETS]
    return [array_in_memory(f"{split}_images", pixels), *named]
