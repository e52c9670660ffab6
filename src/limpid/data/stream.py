"""Images fetched as they are needed, for sets that memory does not hold: the same batches, by a `DataLoader`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Protocol, TypeAlias, cast, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limpid.data.convert import ImageLike, label_from, lower_bound, pixels_from_floats, planes_from
from limpid.data.fingerprint import Fingerprint
from limpid.data.images import ImageDataset, LabelledBatch, shuffled_indices
from limpid.runtime.rng import generator, random_subset

PEEKED = 64
"""Images that tell the range of the floats of all."""


@runtime_checkable
class MapDataset(Protocol):
    """Any numbered set of images with labels: what torch calls a map-style dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[ImageLike, int]: ...


@dataclass(frozen=True, eq=False)
class Converted:
    """Numbered images as pixels of one shape, with labels that are classes, whatever kind of images they are."""

    images: MapDataset
    shape: tuple[int, int, int]
    classes: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> tuple[UInt8[Tensor, "c h w"], int]:
        """An image and its label. Raises ValueError, in one line that names it, for what cannot be one."""
        item = self.images[index]
        try:
            planes, label = self._planes(item), label_from(item[1], self.classes)
            pixels = planes if planes.dtype == torch.uint8 else pixels_from_floats(planes, self._low)
        except ValueError as error:
            raise ValueError(f"image {index}: {error}") from error
        return pixels, label

    @cached_property
    def _low(self) -> float:
        """0 or -1, where the floats of all images begin, as some of them tell."""
        some = random_subset(PEEKED, len(self)).tolist()
        floats = (planes for index in some if (planes := self._planes(self.images[index])).is_floating_point())
        return lower_bound(floats)

    def _planes(self, item: object) -> Tensor:
        if not isinstance(item, tuple | list) or len(item) != 2:
            keys = f" of {', '.join(map(str, item))}" if isinstance(item, dict) else ""
            raise ValueError(f"it is a {type(item).__name__}{keys}: expected a pair, an image and its label")
        planes = planes_from(item[0], 3)
        if tuple(planes.shape) != tuple(self.shape):
            raise ValueError(f"its shape is {tuple(planes.shape)}: expected {tuple(self.shape)}")
        return planes


@dataclass(frozen=True, eq=False)
class StreamingDataset:
    """A labelled set of images that worker processes read, ahead of the run and in its order.

    It takes what `Images` takes, one image and its label at a time.
    """

    images: MapDataset
    shape: tuple[int, int, int]
    class_names: tuple[str, ...] = ()
    """What the labels mean; empty where the images have no classes."""
    workers: int = 0
    """Processes that read; 0 reads in this one."""
    device: torch.device = torch.device("cpu")
    """Where the batches are wanted."""
    class_counts: tuple[int, ...] = ()
    """How many images each class has; empty where nobody counted them."""
    fingerprint: Fingerprint = Fingerprint()
    """What identifies the set they are of, wherever it is."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> int:
        """How many classes there are, 0 for none."""
        return len(self.class_names)

    @cached_property
    def converted(self) -> Converted:
        """The images as pixels."""
        return Converted(self.images, self.shape, self.classes)

    def to(self, device: torch.device | str) -> "StreamingDataset":
        """The same stream, flowing to another device."""
        return replace(self, device=torch.device(device))

    def batches(self, seen: int, size: int, seed: int) -> Iterator[LabelledBatch]:
        """All batches of a run from image `seen` on, without end; closing the iterator ends the workers.

        Raises ValueError for an image that cannot be one.
        """
        pinned = self.device.type == "cuda"
        loader = DataLoader(
            cast(Dataset[tuple[Tensor, int]], self.converted),
            batch_sampler=(shuffled_indices(start, size, len(self), seed).tolist() for start in count(seen, size)),
            num_workers=self.workers,
            pin_memory=pinned,
            generator=generator("cpu", seed, "workers", seen),  # else it would draw from torch's global one
        )
        for pixels, labels in one_line_errors(loader):
            yield pixels.to(self.device, non_blocking=pinned), labels.to(self.device, non_blocking=pinned)


def one_line_errors(loader: Iterable[LabelledBatch]) -> Iterator[LabelledBatch]:
    """What it loads; of a ValueError in a worker, which comes with the worker's traceback, its last line."""
    try:
        yield from loader
    except ValueError as error:
        said = str(error).strip().splitlines() or [""]
        raise ValueError(said[-1].removeprefix("ValueError: ")) from error


DataSource: TypeAlias = ImageDataset | StreamingDataset
"""Where a run takes its batches from."""
