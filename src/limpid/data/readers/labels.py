"""Labels from the names of files: the folders that images are in are their classes."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int

from limpid.runtime.terminal import printable


def classes_of(names: Sequence[str]) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Labels and class names: the folders that the images are in, if every image is in one; else zeros and no names.

    Classes are sorted by name, or by value if all names are whole numbers. A folder that holds all images is no class:
    in a zip of one folder, the classes are the folders in that.
    """
    parts = [name.split("/") for name in names]
    depth = 0
    while parts and all(len(p) > depth + 1 and p[depth] == parts[0][depth] for p in parts):
        depth += 1
    none = np.zeros(len(names), np.int64)
    if not parts or any(len(p) <= depth + 1 for p in parts):
        return none, ()
    found = sorted({p[depth] for p in parts}, key=bytes_of)
    if whole_numbers(found):
        found.sort(key=int)
    number = {name: i for i, name in enumerate(found)}
    return np.array([number[p[depth]] for p in parts], np.int64), tuple(map(printable, found))


def whole_numbers(names: Iterable[str]) -> bool:
    """Whether all names are whole numbers of at most 18 digits."""
    return all(re.fullmatch("-?[0-9]{1,18}", name) for name in names)


def bytes_of(name: str) -> bytes:
    """The bytes of a name, whatever its encoding."""
    return name.encode("utf-8", "surrogatepass")
