"""Images and labels in named arrays, as .npz, .npy, MATLAB, HDF5, MNIST's and other files hold them.

The names of the arrays say what they are and of which split: `images` and `labels`, `x_train` and `y_test`,
`val_images`, `X` and `y`. A reader of a file makes `NamedArray`s of it; here they become a listing.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from limpid.data.fingerprint import fingerprint_of_arrays
from limpid.data.readers.array_layout import ArrayLayout, has_own_range, image_from_row, layout_from_shape, range_of
from limpid.data.readers.array_roles import NamedArray, PairOfArrays, pairs_of_arrays, role_of
from limpid.data.readers.label_values import classes_from_values, flat_labels
from limpid.data.readers.listing import ImageListing, LeftOut, Load, OwnSplit
from limpid.data.readers.messages import one_line
from limpid.data.readers.row_names import names_and_splits
from limpid.data.readers.values import ValueRange
from limpid.runtime.terminal import printable

MAX_IMAGES = 2**24
"""Limit of the number of images in an array."""
MAX_LABEL_BYTES = 2**28
BLOCK_BYTES = 2**22
RANGE_ROWS = 256
"""Number of images by which the range of floats is found."""


class ImageArray(NamedTuple):
    """An array of images with its split and its labels."""

    images: NamedArray
    labels: NamedArray | None
    split: OwnSplit | None
    layout: ArrayLayout
    number_range: ValueRange | None
    """The range of its numbers where their type does not say it."""


def listing_from_arrays(
    root: Path,
    arrays: Sequence[NamedArray],
    stamp: str,
    label: str = "",
    left_out: tuple[LeftOut, ...] = (),
    notes: tuple[str, ...] = (),
) -> ImageListing:
    """The images in these arrays of a file, in the order of their splits; `label` is the array of labels if given.

    Raises ValueError where no array, or more than one of a split, can be the images, and lists the arrays.
    """
    return listing_from_pairs(root, arrays, pairs_of_arrays(arrays, label), stamp, left_out, notes)


def listing_from_pairs(
    root: Path,
    arrays: Sequence[NamedArray],
    pairs: Sequence[PairOfArrays],
    stamp: str,
    left_out: tuple[LeftOut, ...] = (),
    notes: tuple[str, ...] = (),
) -> ImageListing:
    """The images in these pairs of arrays, in their order; `arrays` are all that the files hold.

    Raises ValueError for an array that holds no images, and for labels of another number.
    """
    parts = [_image_array(images, labels, split) for split, images, labels in pairs]
    labels, classes = _labels(parts, _class_names(arrays))
    used = {id(array) for part in parts for array in (part.images, part.labels) if array}
    others = [array for array in arrays if id(array) not in used and role_of(array.name).kind != "names"]
    names, splits = names_and_splits([(part.split, part.images.shape[0]) for part in parts])
    if others:
        left_out += (LeftOut("other arrays", len(others), tuple(map(str, others[:3]))),)
    sums = [(images.checksum, b" ", labels.checksum if labels else b"") for _, images, labels in pairs]
    return ImageListing(
        root,
        names,
        labels if classes else np.zeros(len(names), np.int64),
        classes,
        stamp,
        partial(_loads, root, parts),
        left_out=left_out,
        notes=(*dict.fromkeys(map(_note, parts)), *notes),
        splits=splits,
        content=fingerprint_of_arrays(len(names), *chain.from_iterable(sums)),
        block_size=max(1, min(64, BLOCK_BYTES // max(_row_bytes(part.images) for part in parts))),
    )


def _image_array(images: NamedArray, labels: NamedArray | None, split: OwnSplit | None) -> ImageArray:
    """The array of images of a split. Raises ValueError if it holds none, or if it has another number of labels."""
    n = images.shape[0] if images.shape else 0
    if images.dtype.kind not in "buif" or images.dtype.itemsize > 8:
        raise ValueError(f"its array of images is {images}: expected numbers")
    try:
        layout = images.layout or layout_from_shape(images.shape)
    except ValueError as error:
        raise ValueError(f"{images}: {error}") from error
    if not 1 <= n <= MAX_IMAGES:
        raise ValueError(f"{images} has {n:,} images: expected 1 to {MAX_IMAGES:,}")
    if labels and labels.shape == (0,):
        labels = None
    if labels and labels.shape[:1] != (n,):
        raise ValueError(f"its labels are {labels}: expected one for each of {n:,} images")
    if labels and flat_labels(_first_rows(labels)) is None:  # several for each image, which are no classes
        labels = None
    own = has_own_range(images.dtype)
    return ImageArray(images, labels, split, layout, None if own else range_of(_first_rows(images)))


def _first_rows(array: NamedArray) -> np.ndarray:
    with closing(array.blocks(max(1, min(RANGE_ROWS, BLOCK_BYTES // _row_bytes(array))))) as blocks:
        return next(blocks)


def _row_bytes(array: NamedArray) -> int:
    return max(1, prod(array.shape[1:]) * array.dtype.itemsize)


def _labels(parts: list[ImageArray], names: Sequence[str]) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """The labels of all images and the names of the classes; none where an array of images has no labels."""
    arrays = [part.labels for part in parts if part.labels]
    if len(arrays) < len(parts):
        return np.zeros(0, np.int64), ()
    return classes_from_values(np.concatenate([_label_values(array) for array in arrays]), names)


def _label_values(array: NamedArray) -> np.ndarray:
    """A label for each image. Raises ValueError where there are too many, or several for an image."""
    row = _row_bytes(array)
    if array.shape[0] * (row if array.dtype.kind in "US" else 8) > MAX_LABEL_BYTES or row > BLOCK_BYTES:
        raise ValueError(f"its labels are {array}: expected at most {MAX_LABEL_BYTES:,} bytes")
    with closing(array.blocks(max(1, BLOCK_BYTES // _row_bytes(array)))) as blocks:
        found = [flat_labels(block) for block in blocks]
    given = [each for each in found if each is not None]
    if len(given) < len(found):
        raise ValueError(f"its labels are {array}: expected one 1 in each row")
    return np.concatenate(given)


def _class_names(arrays: Sequence[NamedArray]) -> tuple[str, ...]:
    """The names of the classes in the order of their labels; none where no array has them."""
    array = next((each for each in arrays if role_of(each.name).kind == "names"), None)
    if array is None or array.shape == (0,):
        return ()
    size = prod(array.shape) * array.dtype.itemsize
    if array.dtype.kind not in "US" or len(array.shape) != 1 or size > MAX_LABEL_BYTES // 16:
        expected = f"a row of words, of at most {MAX_LABEL_BYTES // 16:,} bytes"
        raise ValueError(f"its class names are {array}: expected {expected}")
    with closing(array.blocks(array.shape[0])) as blocks:
        words = chain.from_iterable(block.tolist() for block in blocks)
        return tuple(word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in words)


def _loads(root: Path, parts: list[ImageArray], chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
    """A reader for each image that the mask selects. Raises ValueError if an array ends early."""
    masks = np.split(chosen, np.cumsum([part.images.shape[0] for part in parts])[:-1])
    return chain.from_iterable(_rows(root, part, mask) for part, mask in zip(parts, masks, strict=True))


def _rows(root: Path, part: ImageArray, chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
    if not chosen.any():
        return
    start = 0
    try:
        with closing(part.images.blocks(max(1, BLOCK_BYTES // _row_bytes(part.images)))) as blocks:
            for block in blocks:
                for index in np.flatnonzero(chosen[start : start + len(block)]).tolist():
                    row = block[index].copy()
                    yield partial(image_from_row, row, part.layout, part.number_range)
                start += len(block)
        if start != len(chosen):
            raise ValueError(f"{part.images} ends early")
    except Exception as error:  # the libraries raise many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(root))}: {one_line(error)}") from error


def _note(part: ImageArray) -> str:
    numbers = f", values in [{part.number_range.black:g}, {part.number_range.white:g}]" if part.number_range else ""
    labels = f"labels {part.labels.name}" if part.labels else "no labels"
    return printable(f"array {part.images.name}: {part.layout}{numbers}; {labels}")
