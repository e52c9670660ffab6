"""Folders of several .npz that are one set: ImageNet32's train_data_batch_1 to 10 and val_data, KMNIST's pairs of
kmnist-train-imgs and kmnist-train-labels.

The name of a file says its split, whether it holds images or labels, and its number; what is left of the name is that
of the set, and files of several sets are refused.
"""

import re
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from limpid.data.readers.array_roles import (
    IMAGE_ARRAYS,
    LABEL_ARRAYS,
    ORDER,
    NamedArray,
    PairOfArrays,
    pairs_of_arrays,
    role_of,
)
from limpid.data.readers.arrays import listing_from_pairs
from limpid.data.readers.listing import ImageListing, LeftOut, NoImagesError
from limpid.data.readers.messages import one_line
from limpid.data.readers.npy import stamp_of
from limpid.data.readers.npz import FEW, arrays_in_npz
from limpid.data.readers.row_names import SPLIT_WORDS, split_from_name
from limpid.runtime.terminal import printable

MAX_FILES = 1_000
"""Limit of the number of files of a set."""
PART_WORDS = {"batch", "part", "shard", "chunk", "of", "npz"}
"""Words in the names of files that say nothing of the set."""


class NpzFile(NamedTuple):
    """An .npz of a folder: its name below the root, and its arrays."""

    name: str
    arrays: list[NamedArray]
    left_out: tuple[LeftOut, ...]


def scan_npz_files(root: Path, names: list[str], label: str = "") -> ImageListing:
    """The images of the .npz files called `names` below a folder, in the order of their splits, names and numbers.

    Raises NoImagesError where none of them has an array of images, as statistics have not, and ValueError for files
    that cannot be read, and for those of several sets.
    """
    names = sorted(names, key=_name_order)
    if len(names) > MAX_FILES:
        found = f"{printable(str(root))} has {len(names):,} .npz files"
        raise ValueError(f"{found}: expected at most {MAX_FILES:,}, each with many images")
    every = [_read(root, name) for name in names]
    files = [file for file in every if any(map(_is_of_use, file.arrays))]
    if not any(_may_be_images(array) for file in files for array in file.arrays):
        found = ", ".join(str(array) for file in every for array in file.arrays[:3])[:300] or "none"
        raise NoImagesError(f"no image in {printable(str(root))}: the arrays of its .npz are {found}")
    pairs = [pair for group in _groups(files) for pair in _pairs_of_group(root, group, label)]
    if len(files) > 1:
        _check_one_set(root, files, pairs)
    pairs.sort(key=lambda pair: ORDER.index(pair[0]))
    arrays = [array for file in files for array in file.arrays]
    left_out = tuple(each for file in files for each in file.left_out)
    if others := [file.name for file in every if file not in files]:
        left_out += (LeftOut(".npz files without an image", len(others), tuple(others[:3])),)
    notes = (f"{len(files):,} .npz files are one set",) if len(files) > 1 else ()
    try:
        return listing_from_pairs(root, arrays, pairs, stamp_of(*(root / name for name in names)), left_out, notes)
    except Exception as error:  # zipfile and numpy raise many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(root))}: {one_line(error)}") from error


def _read(root: Path, name: str) -> NpzFile:
    """An .npz with its arrays; the only one of a file of labels is called labels, whatever its name."""
    try:
        arrays, left_out = arrays_in_npz(root / name)
    except Exception as error:  # zipfile and numpy raise many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(root / name))}: {one_line(error)}") from error
    if len(arrays) == 1 and not {*_words(Path(name).stem)}.isdisjoint(LABEL_ARRAYS):
        arrays = [arrays[0]._replace(name="labels")]
    return NpzFile(name, arrays, left_out)


def _is_of_use(array: NamedArray) -> bool:
    return _may_be_images(array) or role_of(array.name).kind == "label"


def _may_be_images(array: NamedArray) -> bool:
    kind = role_of(array.name).kind
    return kind == "image" or (not kind and len(array.shape) in (3, 4))


def _groups(files: list[NpzFile]) -> list[list[NpzFile]]:
    """The files in groups of equal names but for the words for images and labels: a pair, or a file of both."""

    def key(file: NpzFile) -> str:
        return "_".join(word for word in _words(file.name) if word not in (*IMAGE_ARRAYS, *LABEL_ARRAYS))

    single = [file for file in files if len(file.arrays) == 1]
    complete = [[file] for file in files if len(file.arrays) != 1]
    by_key = groupby(sorted(single, key=lambda file: _name_order(key(file))), key)
    groups = [*complete, *(list(group) for _, group in by_key)]
    return sorted(groups, key=lambda group: _name_order(group[0].name))


def _pairs_of_group(root: Path, group: list[NpzFile], label: str) -> list[PairOfArrays]:
    """The arrays of images and labels in files that belong together, with the split that their names speak of."""
    arrays = [array for file in group for array in file.arrays]
    try:
        pairs = pairs_of_arrays(arrays, label)
    except ValueError as error:
        raise ValueError(f"cannot read {printable(str(root))}: {_listed(group)}: {error}") from error
    split = split_from_name(group[0].name)
    return [(own or split, images, labels) for own, images, labels in pairs]


def _check_one_set(root: Path, files: list[NpzFile], pairs: list[PairOfArrays]) -> None:
    """Raise ValueError if the files are of several sets, or of an image each."""
    sets = {_set_name(file.name) for file in files}
    shapes = {images.shape[1:] for _, images, _ in pairs}
    complete = any(len({role_of(a.name).split for a in file.arrays if _may_be_images(a)}) > 1 for file in files)
    if len(sets) > 1 or len(shapes) > 1 or complete:
        why = "several sets" if len(sets) > 1 or complete else "images of several shapes"
        raise ValueError(f"{printable(str(root))} has {why} in its .npz: {_listed(files)}: name one with --data.root")
    if any(labels is None and _is_one_image(images.shape) for _, images, labels in pairs):
        found = f"{printable(str(root))} has an image in each .npz: {_listed(files)}"
        raise ValueError(f"{found}: save each as .npy or PNG, or all in one array of n x height x width x channels")


def _is_one_image(shape: tuple[int, ...]) -> bool:
    """Whether an array without labels is rather one image than several."""
    return len(shape) == 2 or (len(shape) == 3 and min(shape[0], shape[2]) <= FEW)


def _set_name(name: str) -> str:
    """What the name of a file says besides the split, the kind of the arrays and the number."""
    ignored = {*SPLIT_WORDS, *IMAGE_ARRAYS, *LABEL_ARRAYS, *PART_WORDS}
    return " ".join(word for word in _words(name) if word not in ignored and not word.isdecimal())


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_./\s]+", name.lower()) if word]


def _name_order(name: str) -> list[tuple[int, int, str]]:
    """The order of names in which numbers are in the order of their values: batch_2 before batch_10."""
    words = re.split(r"([0-9]+)", name)
    return [(1, int(word), word) if i % 2 else (0, 0, word) for i, word in enumerate(words)]


def _listed(files: list[NpzFile]) -> str:
    more = f", ... ({len(files):,} files)" if len(files) > 3 else ""
    return ", ".join(printable(file.name) for file in files[:3]) + more
