"""What the arrays of a file are, by their names: images, labels or class names, and of which split."""

import re
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Literal, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np

from limpid.data.readers.array_layout import ArrayLayout
from limpid.data.readers.listing import OwnSplit
from limpid.data.readers.row_names import SPLIT_WORDS
from limpid.runtime.terminal import printable

RoleKind: TypeAlias = Literal["image", "label", "names", ""]

IMAGE_ARRAYS = ("images", "image", "x", "data", "imgs", "img", "arr_0")
LABEL_ARRAYS = ("labels", "label", "y", "targets", "target", "arr_1")
NAMES_BY_KIND: dict[RoleKind, tuple[str, ...]] = {
    "image": IMAGE_ARRAYS,
    "label": LABEL_ARRAYS,
    "names": ("class_names", "label_names"),
}

ORDER: tuple[OwnSplit | None, ...] = ("train", "val", "test", None)
"""The splits in the order in which their arrays are read; None is that of arrays of no split."""

Blocks: TypeAlias = Callable[[int], Generator[np.ndarray, None, None]]


class NamedArray(NamedTuple):
    """An array of a file, not read yet."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    blocks: Blocks
    """Reads the rows (along the first axis) in their order, in blocks of at most so many."""
    checksum: bytes = b""
    """Identifies its content."""
    layout: ArrayLayout | None = None
    """Where the images are in it; None where its shape decides."""

    def __str__(self) -> str:
        return f"{printable(self.name[:60])} ({self.dtype}, {' x '.join(map(str, self.shape)) or 'one number'})"


def array_in_memory(name: str, array: np.ndarray, layout: ArrayLayout | None = None) -> NamedArray:
    """An array that has been read as a whole, which the arrays of small files are."""
    checksum = b"%d %d" % (array.nbytes, crc32(np.ascontiguousarray(array).data))
    return NamedArray(name, array.shape, array.dtype, partial(_slices, array), checksum, layout)


def _slices(array: np.ndarray, rows: int) -> Generator[np.ndarray, None, None]:
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


class Role(NamedTuple):
    """What the name of an array says of it."""

    kind: RoleKind
    split: OwnSplit | None
    rank: int
    """Its place among the names of its kind: the first of them is taken."""


def role_of(name: str) -> Role:
    """What an array of this name is: images, labels or class names of a split, or nothing that is known."""
    word = name.lower().rpartition("/")[2]
    words = re.split(r"[_\-.]", word)
    split: OwnSplit | None = next((SPLIT_WORDS[each] for each in words if each in SPLIT_WORDS), None)
    rest = "_".join(each for each in words if each not in SPLIT_WORDS)
    for kind, names in NAMES_BY_KIND.items():
        if rest in names:
            return Role(kind, split, names.index(rest))
    return Role("", split, 0)


PairOfArrays: TypeAlias = tuple[OwnSplit | None, NamedArray, NamedArray | None]
"""A split, and the arrays of its images and of its labels; None where there are none."""


def pairs_of_arrays(arrays: Sequence[NamedArray], label: str) -> list[PairOfArrays]:
    """The array of images of each split, and that of its labels: `label`, or one with a known name; "none" takes none.

    Raises ValueError where no array can be the images, or none has the name `label`.
    """
    listed = ", ".join(map(str, arrays[:12])) or "none"
    images: dict[OwnSplit | None, NamedArray] = _best(arrays, "image")
    if not images:
        of_shape = [array for array in arrays if len(array.shape) in (3, 4) and not role_of(array.name).kind]
        if len(of_shape) != 1:
            raise ValueError(f"it has no array {', '.join(IMAGE_ARRAYS[:4])} or arr_0: its arrays are {listed}")
        images = {role_of(of_shape[0].name).split: of_shape[0]}
    labels: dict[OwnSplit | None, NamedArray] = _best(arrays, "label")
    if label == "none":
        labels = {}
    elif label:
        chosen = [array for array in arrays if label in (array.name, _without_split(array.name))]
        if not chosen:
            raise ValueError(f"it has no array {label!r} of labels: its arrays are {listed}")
        labels = {role_of(array.name).split: array for array in chosen}
    elif set(images) == {None} and None not in labels and len(labels) == 1:  # `images` beside `train_labels`
        labels = {None: next(iter(labels.values()))}
    splits: list[OwnSplit | None] = [split for split in ORDER if split in images]
    if None in images and len(images) > 1:  # `images` beside train_images: the set and a part of it
        splits = [None]
    return [(split, images[split], labels.get(split)) for split in splits]


def _without_split(name: str) -> str:
    return "_".join(each for each in name.split("_") if each.lower() not in SPLIT_WORDS)


def _best(arrays: Sequence[NamedArray], kind: str) -> dict[OwnSplit | None, NamedArray]:
    """The array of a kind for each split: of several, that whose name comes first in the list of names."""
    found: dict[OwnSplit | None, NamedArray] = {}
    for array in arrays:
        role = role_of(array.name)
        if role.kind == kind and (role.split not in found or role.rank < role_of(found[role.split].name).rank):
            found[role.split] = array
    return found
