"""Work that is done a piece at a time and kept, so that whoever comes again goes on where the last one stopped."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from limpid.whole import whole

Piece = dict[str, Tensor]
Each: TypeAlias = Callable[[Callable[[range], Piece], Iterable[range]], Iterator[Piece]]
"""What makes a piece for each stretch of numbers, in their order: `map`, or `parallel.in_turns`."""


def pieces(folder: Path | None, n: int, size: int, make: Callable[[range], Piece], each: Each = map) -> Iterator[Piece]:
    """What `make` returns for the numbers 0..n-1, at most `size` at a time, kept in the folder if there is one."""
    yield from each(lambda numbers: piece(folder, numbers, make), stretches(n, size))


def stretches(n: int, size: int) -> list[range]:
    """The numbers 0..n-1, at most `size` at a time."""
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


def piece(folder: Path | None, numbers: range, make: Callable[[range], Piece]) -> Piece:
    """What `make` returns for these numbers.

    With a folder it is kept there as a file, and read instead of made if it is there: its name is the numbers.
    """
    file = folder / f"{numbers.start:08d}-{numbers.stop:08d}.safetensors" if folder else None
    kept = _read(file) if file else None
    if kept is not None:
        return kept
    made = {name: value.cpu().contiguous() for name, value in make(numbers).items()}
    if file:
        with whole(file) as part:
            part.write_bytes(save(made))  # its own way to write a file has a name that nobody knows until it is done
    return made


def joined(parts: Iterator[Piece]) -> Piece:
    """All pieces, one after the other."""
    held = list(parts)
    return {name: torch.cat([piece[name] for piece in held]) for name in held[0]}


def _read(file: Path) -> Piece | None:
    """A piece that is kept, or nothing if there is none or it is broken: it is made again then."""
    try:
        return load_file(file)
    except (OSError, SafetensorError):
        return None
