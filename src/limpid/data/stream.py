"""Pictures fetched as they are needed, for sets that memory does not hold: the same batches, by a `DataLoader`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol, TypeAlias, cast, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limpid.data.images import Batch, Images, order
from limpid.learning.rng import generator


@runtime_checkable
class Pictures(Protocol):
    """Any numbered set of pictures with labels: what torch calls a map-style dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[UInt8[Tensor, "c h w"], int]: ...


@dataclass(frozen=True, eq=False)
class Stream:
    """A labelled set of pictures that worker processes read, ahead of the run and in its order."""

    pictures: Pictures
    shape: tuple[int, int, int]
    names: tuple[str, ...] = ()
    """What the labels mean; empty where the pictures have no classes."""
    workers: int = 0
    """Processes that read; 0 reads in this one."""
    device: torch.device = torch.device("cpu")
    """Where the batches are wanted."""
    class_counts: tuple[int, ...] = ()
    """How many pictures each class has; empty where nobody counted them."""

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def classes(self) -> int:
        """How many classes there are, 0 for none."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "Stream":
        """The same stream, flowing to another device."""
        return replace(self, device=torch.device(device))

    def batches(self, seen: int, size: int, seed: int) -> Iterator[Batch]:
        """All batches of a run from picture `seen` on, without end; closing the iterator ends the workers."""
        pinned = self.device.type == "cuda"
        loader = DataLoader(
            cast(Dataset[tuple[Tensor, int]], self.pictures),
            batch_sampler=(order(start, size, len(self), seed).tolist() for start in count(seen, size)),
            num_workers=self.workers,
            pin_memory=pinned,
            generator=generator("cpu", seed, "workers", seen),  # else it would draw from torch's global one
        )
        for pixels, labels in loader:
            yield pixels.to(self.device, non_blocking=pinned), labels.to(self.device, non_blocking=pinned)


Source: TypeAlias = Images | Stream
"""Where a run takes its batches from."""
