"""Pickles of plain values and numpy arrays of bytes, read without calling the functions that they name.

A pickle is a program: it may name any function and have it called. Here it may name only the four that make numpy
arrays, and even those are not called: the arguments of each call are recorded, and `array` makes the array of them.
"""

import io
import pickle
import pickletools
from mmap import mmap
from typing import IO, Any, cast

import numpy as np
from jaxtyping import UInt8

ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


MEMO = 2**20
"""Limit of the memo index of a pickle: Python allocates 16 bytes for every index up to the largest."""
TUPLES = 20_000
"""Limit of the tuples in a pickle: hashing a million nested tuples overflows the stack."""


class Record:
    """A call in a pickle that was recorded instead of made: its arguments, and the state for the object it returns."""

    arguments: tuple[Any, ...] = ()
    state: Any = ()

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> type[Record]:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!r}, and only numpy arrays are admitted")
        return Record


def unpickle(blob: bytes) -> object:
    """The value in a pickle: strings of Python 2 as bytes, arrays as records.

    Raises UnpicklingError for a pickle that names other functions, and whatever pickle does for one that is broken.
    """
    refuse_bombs(blob)
    return _Reader(io.BytesIO(blob), encoding="bytes").load()


def refuse_bombs(blob: bytes | mmap) -> None:
    """Raise UnpicklingError for a pickle that would take memory or stack far beyond its own length.

    Raises ValueError for lengths beyond the end. Every operation is examined, and none is executed.
    """
    tuples = 0
    for operation, argument, _ in pickletools.genops(cast("bytes | IO[bytes]", blob)):
        if operation.name.endswith("PUT") and argument is not None and argument > MEMO:
            raise pickle.UnpicklingError(f"it would remember a value by the number {argument}")
        tuples += operation.name.startswith(("TUPLE", "FROZENSET"))
        if tuples > TUPLES:
            raise pickle.UnpicklingError(f"it has more than {TUPLES:,} tuples")


def array(record: Record) -> UInt8[np.ndarray, "..."]:
    """The array of bytes that a record describes: its state is (version, shape, dtype, Fortran order, bytes)."""
    _, shape, dtype, fortran, raw = record.state
    if fortran or dtype.arguments[0] not in (b"u1", "u1"):
        raise ValueError("its array is not of uint8 in C order")
    return np.frombuffer(raw, np.uint8).reshape(shape)
