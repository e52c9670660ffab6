"""A cache on disk for work that is done in chunks: a later call continues where an earlier one stopped.

Each chunk has a checksum; a chunk that was changed is computed again.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from limpid.runtime.log import logger, warn_once
from limpid.storage.atomic import atomic_write, remove_abandoned
from limpid.storage.regular_files import require_regular

Chunk = dict[str, Tensor]
MapChunks: TypeAlias = Callable[[Callable[[range], Chunk], Iterable[range]], Iterator[Chunk]]
"""Applies a function to each range of numbers, in order: `map`, or `distributed.parallel_map`."""

CHECKSUM_KEY = "sha256"
"""The key of the checksum in the metadata of a chunk's file."""


def cached_chunks(
    folder: Path | None, n: int, size: int, compute: Callable[[range], Chunk], map_fn: MapChunks = map
) -> Iterator[Chunk]:
    """The results of `compute` for the numbers 0..n-1, at most `size` at a time, cached in the folder if one is
    given."""
    if folder:
        remove_abandoned(folder)
    yield from map_fn(lambda numbers: cached_chunk(folder, numbers, compute), chunk_ranges(n, size))


def chunk_ranges(n: int, size: int) -> list[range]:
    """The numbers 0..n-1, at most `size` at a time."""
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


def cached_chunk(folder: Path | None, numbers: range, compute: Callable[[range], Chunk]) -> Chunk:
    """The result of `compute` for these numbers.

    With a folder it is cached there, in a file named by the numbers, and read from it if its checksum is right. If the
    folder cannot be written to, a warning is logged and nothing is cached.
    """
    file = folder / f"{numbers.start:08d}-{numbers.stop:08d}.safetensors" if folder else None
    cached = _read(file) if file else None
    if cached is not None:
        return cached
    chunk = {name: value.cpu().contiguous() for name, value in compute(numbers).items()}
    if file:
        try:
            with atomic_write(file) as part:
                part.write_bytes(save(chunk, {CHECKSUM_KEY: checksum(chunk, file)}))
        except OSError as error:
            _warn_uncached(file.parent, str(error.strerror or error))
    return chunk


def checksum(tensors: Chunk, file: Path) -> str:
    """The SHA-256 of tensors with their names, types and shapes, and of their position in the cache."""
    digest = sha256(f"{file.parent.name}/{file.name}".encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def concat(parts: Iterator[Chunk]) -> Chunk:
    """All chunks concatenated."""
    chunks = list(parts)
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _read(file: Path) -> Chunk | None:
    """A cached chunk; None if there is none, or with a warning if it is damaged."""
    try:
        require_regular(file)
        with safe_open(file, "pt") as archive:
            tensors: Chunk = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
            stated = (archive.metadata() or {}).get(CHECKSUM_KEY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, SafetensorError) as error:
        logger.warning(f"{file} cannot be read ({str(error).splitlines()[0]}): its content is computed again")
        return None
    if stated != checksum(tensors, file):
        logger.warning(f"{file} was changed: its content is computed again")
        return None
    return tensors


def _warn_uncached(folder: Path, reason: str) -> None:
    """Warn once for a folder, not for every file."""
    warn_once(f"cannot write to the cache {folder} ({reason}): the next call computes everything again")
