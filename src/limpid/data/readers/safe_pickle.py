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

HASHED = 1_000_000
"""Limit of the values in all tuples that are keys: hashing 100 nested tuples that hold the next twice takes 2^100."""
_MARK = 0
_GETS, _PUTS = {"GET", "BINGET", "LONG_BINGET"}, {"PUT", "BINPUT", "LONG_BINPUT"}
"""Operations that read from the memo, and that write to it, by a number."""
_NESTS = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"}
"""Operations that make of several values one that can be a key."""
_PUSHES = {
    operation.name
    for operation in pickletools.opcodes
    if not operation.stack_before and len(operation.stack_after) == 1
} - {"MARK", *_GETS}
"""Operations that put a plain value on the stack: half of those in CIFAR-10, so they are followed without delay."""


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


def refuse_bombs(blob: bytes | mmap | io.BufferedIOBase, max_tuples: int = TUPLES) -> None:
    """Raise UnpicklingError for a pickle that would take memory, stack or time far beyond its own length.

    Raises ValueError for lengths beyond the end. Every operation is examined, and none is executed; a file is read to
    the end of its first pickle.
    """
    tuples, sizes = 0, _Sizes()
    for operation, argument, _ in pickletools.genops(cast("bytes | IO[bytes]", blob)):
        if operation.name in _PUTS and argument is not None and argument > MEMO:
            raise pickle.UnpicklingError(f"it would remember a value by the number {argument}")
        tuples += operation.name in _NESTS
        if tuples > max_tuples:
            raise pickle.UnpicklingError(f"it has more than {max_tuples:,} tuples")
        sizes.step(operation, argument)


class _Sizes:
    """The stack and memo of an unpickler with, for each value, how many values hashing it visits, or more.

    A mark is `_MARK`. What takes values from the stack and is no tuple has the size of the largest: some operations
    leave the value that they are meant to change as it is.
    """

    def __init__(self) -> None:
        self.stack: list[int] = []
        self.memo: dict[int, int] = {}
        self.hashed = 0

    def step(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Follow one operation. Raises UnpicklingError for values that are not there, and for keys of absurd size."""
        name = operation.name
        if name in _PUSHES:
            self.stack.append(1)
        elif name in _GETS:
            self.stack.append(self.memo.get(argument, 1))
        elif name in _PUTS or name == "MEMOIZE":
            self.memo[len(self.memo) if argument is None else argument] = self._top()
        elif name == "DUP":
            self.stack.append(self._top())
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name == "POP" and self.stack[-1:] == [_MARK]:
            self.stack.pop()
        elif operation.stack_before:
            self._replace(name, [kind.name for kind in operation.stack_before], len(operation.stack_after))

    def _top(self) -> int:
        if not self.stack or self.stack[-1] == _MARK:
            raise pickle.UnpicklingError("it takes a value where there is none")
        return self.stack[-1]

    def _pop(self) -> int:
        self._top()
        return self.stack.pop()

    def _replace(self, name: str, before: list[str], results: int) -> None:
        """Take the values of an operation from the stack, and put its results there."""
        items: list[int] = []
        if "mark" in before:
            while self.stack and self.stack[-1] != _MARK:
                items.append(self.stack.pop())
            if not self.stack:
                raise pickle.UnpicklingError("it takes values from a mark where there is none")
            self.stack.pop()
            before = before[: before.index("mark")]
        items += [self._pop() for _ in before]  # the last one first
        keys = (
            items
            if name in ("ADDITEMS", "FROZENSET")
            else items[1::2]
            if name in ("DICT", "SETITEM", "SETITEMS")
            else []
        )
        self.hashed += sum(size for size in keys if size > 1)
        if self.hashed > HASHED:
            raise pickle.UnpicklingError(f"its keys are tuples of more than {HASHED:,} values")
        size = min(1 + sum(items), HASHED + 1) if name in _NESTS else max(items, default=1)
        self.stack += [size] * results


def array(record: Record) -> UInt8[np.ndarray, "..."]:
    """The array of bytes that a record describes: its state is (version, shape, dtype, Fortran order, bytes)."""
    _, shape, dtype, fortran, raw = record.state
    if fortran or dtype.arguments[0] not in (b"u1", "u1"):
        raise ValueError("its array is not of uint8 in C order")
    return np.frombuffer(raw, np.uint8).reshape(shape)
