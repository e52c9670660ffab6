"""Labels from the values of a column or an array: whole numbers or words become class indices and class names."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from limpid.data.readers.zip_files import LONGEST_NAME
from limpid.runtime.terminal import printable

MAX_CLASSES = 100_000
"""Limit of the number of classes: more are numbers of something else, such as of the images themselves."""


def classes_from_values(values: np.ndarray, names: Sequence[str] = ()) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Class indices and class names from n values: whole numbers or words.

    Where `names` has the classes the numbers are indices into it. Without it the values in order are the classes, and
    are their names. Raises ValueError for values that are no labels.
    """
    if values.dtype.kind == "f" and len(values) and np.all(values == np.trunc(values)) and np.abs(values).max() < 2**53:
        values = values.astype(np.int64)
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    if values.dtype.kind not in "iuUS":
        raise ValueError(f"its labels are {values.dtype}: expected whole numbers or words")
    if names and values.dtype.kind in "iu":
        if len(values) and not 0 <= values.min() <= values.max() < len(names):
            raise ValueError(f"its labels are {values.min()} to {values.max()}, and it names {len(names)} classes")
        return values.astype(np.int64), class_names_from(names)
    found, labels = np.unique(values, return_inverse=True)
    if len(found) > MAX_CLASSES:
        raise ValueError(f"its labels have {len(found):,} different values: expected at most {MAX_CLASSES:,} classes")
    words = [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in found.tolist()]
    return labels.reshape(-1).astype(np.int64), class_names_from(words)


def class_names_from(names: Sequence[str]) -> tuple[str, ...]:
    """The names as they can be printed. Raises ValueError for one that is longer than a file's name can be."""
    if long := [name for name in names if len(name) > LONGEST_NAME]:
        raise ValueError(f"a class name in it, {long[0][:60]!r}, is longer than {LONGEST_NAME} letters")
    return tuple(map(printable, names))


def flat_labels(values: np.ndarray) -> np.ndarray | None:
    """A value for each image: of rows of one 1 and zeros, the index of the 1. None where a row is something else."""
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        return values.argmax(1) if is_one_hot(values) else None
    return values


def is_one_hot(values: np.ndarray) -> bool:
    """Whether every row of a table of numbers is one 1 and zeros."""
    if values.ndim != 2 or values.dtype.kind not in "biuf" or not values.size:
        return False
    return bool(np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all())
