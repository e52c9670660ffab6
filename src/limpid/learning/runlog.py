"""The log of a run: one JSON object a line, beginning with the images seen."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Every whole line, oldest first; a last line that was cut off is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def cut(path: Path, seen: int) -> None:
    """Take off the lines after image `seen`, which a run resumed there will write again."""
    lines = read(path)
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(line) + "\n" for line in lines if line["seen"] <= seen), encoding="utf-8")
    part.replace(path)


class Meter:
    """The mean loss since it was last read, gathered on the device so that no step waits for a number."""

    def __init__(self, device: str):
        self.total = torch.zeros(2, device=device)
        """The sum of the losses and how many they were: part of a checkpoint."""

    def add(self, loss: Float[Tensor, " b"]) -> None:
        """Count the loss of each sample of a batch."""
        self.total[0] += loss.sum()
        self.total[1] += len(loss)

    def read(self) -> float:
        """The mean, which starts anew; NaN if a loss was."""
        total, number = self.total.tolist()
        self.total.zero_()
        return total / number
