"""The log of a run: one JSON object a line, beginning with the images seen."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.whole import durable, sync

Line = dict[str, Any]
EDGES = (-6.0, -2.0, 2.0, 6.0)
"""Where the log-SNR is cut into the parts whose losses are told apart: from nearly pure noise to nearly the picture."""
PARTS = ("..-6", "-6..-2", "-2..2", "2..6", "6..")


class Log:
    """A log that is being written. A line that the disk refuses is kept, and written together with the next."""

    def __init__(self, path: Path):
        self.path = path
        self.waiting = b""

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line, whole or not at all. Raises OSError if the disk refuses it; it is then not lost."""
        self.waiting += json.dumps(line).encode() + b"\n"
        append(self.path, self.waiting)
        self.waiting = b""

    def sync(self) -> None:
        """Wait until the disk has every line, so that after a power cut none is missing before a checkpoint."""
        with suppress(OSError):  # what can be written but not waited for, or is not there yet
            sync(self.path)

    def cut(self, seen: int) -> list[Line]:
        """Take off the lines after image `seen`, which a run resumed there will write again; those that are left."""
        kept = [line for line in read(self.path) if line["seen"] <= seen]
        with durable(self.path) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self.waiting = b""
        return kept


def append(path: Path, lines: bytes) -> None:
    """Add lines to a file, all of them or none. Raises OSError for none."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        before = os.fstat(file).st_size
        try:
            while lines:
                lines = lines[os.write(file, lines) :]
        except BaseException:
            with suppress(OSError):
                os.ftruncate(file, before)
            raise
    finally:
        os.close(file)


def read(path: Path) -> list[Line]:
    """Every line up to the first that is not whole, oldest first."""
    if not path.exists():
        return []
    lines: list[Line] = []
    for text in path.read_bytes().splitlines(keepends=True):
        try:
            line = json.loads(text) if text.endswith(b"\n") else None
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("seen"), int):
            break
        lines.append(line)
    return lines


class Means(NamedTuple):
    """What a meter has gathered."""

    loss: float
    parts: dict[str, float]
    """The mean loss in each part of the log-SNR that was met."""


class Meter:
    """Mean losses since they were last read, gathered on the device so that no step waits for a number."""

    def __init__(self, device: str):
        self.total = torch.zeros(len(PARTS), 3, device=device)
        """For each part of the log-SNR the sum of the losses, of their rarities, and how many: part of a checkpoint."""
        self.edges = torch.tensor(EDGES, device=device)
        self.parts = torch.arange(len(PARTS), device=device)

    def add(self, loss: Float[Tensor, " b"], rarity: Float[Tensor, " b"], logsnr: Float[Tensor, " b"]) -> None:
        """Count the loss of each sample of a batch, which its rarity is a factor of already."""
        inside = torch.bucketize(logsnr.float(), self.edges)[:, None] == self.parts
        values = torch.stack([loss, rarity.float(), torch.ones_like(loss)], 1)
        # Sums of a fixed order, and no product: a loss that is no number spoils its own part alone.
        self.total += torch.where(inside[:, :, None], values[:, None, :], 0.0).sum(0)

    def read(self) -> Means:
        """The means, which start anew; NaN if a loss was."""
        rows = self.total.tolist()
        self.total.zero_()
        parts = {name: loss / rarity for name, (loss, rarity, _) in zip(PARTS, rows, strict=True) if rarity}
        return Means(sum(row[0] for row in rows) / sum(row[2] for row in rows), parts)
