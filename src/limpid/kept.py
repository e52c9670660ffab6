"""Work that is done a piece at a time and kept, so that whoever comes again goes on where the last one stopped."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from limpid.whole import whole

Piece = dict[str, Tensor]


def pieces(folder: Path | None, n: int, size: int, make: Callable[[range], Piece]) -> Iterator[Piece]:
    """What `make` returns for the numbers 0..n-1, at most `size` at a time.

    With a folder each piece is kept there as a file, and read instead of made if it is there: its name is the numbers.
    """
    for first in range(0, n, size):
        numbers = range(first, min(first + size, n))
        file = folder / f"{numbers.start:08d}-{numbers.stop:08d}.safetensors" if folder else None
        piece = _read(file) if file else None
        if piece is None:
            piece = {name: value.cpu().contiguous() for name, value in make(numbers).items()}
            if file:
                with whole(file) as part:
                    save_file(piece, part)
        yield piece


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
