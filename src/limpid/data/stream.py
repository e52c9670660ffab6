"""Images read by a `DataLoader` as they are needed, for sets larger than memory: the same batches in the same order."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Protocol, TypeAlias, cast, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limpid.data.convert import ImageLike, label_from, lower_bound, pixels_from_floats, planes_from
from limpid.data.description import DataDescription
from limpid.data.fingerprint import Fingerprint
from limpid.data.images import ImageDataset, LabelledBatch, shuffled_indices
from limpid.runtime.rng import generator, random_subset

SAMPLED_FOR_RANGE = 64
"""Number of images from which the range of floats is found."""


@runtime_checkable
class MapDataset(Protocol):
    """A map-style dataset of torch: labelled images by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[ImageLike, int]: ...


@dataclass(frozen=True, eq=False)
class Converted:
    """A map-style dataset converted to uint8 pixels of one shape and checked labels."""

    images: MapDataset
    shape: tuple[int, int, int]
    classes: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> tuple[UInt8[Tensor, "c h w"], int]:
        """An image and its label. Raises ValueError, in one line with the index, for what cannot be converted."""
        item = self.images[index]
        try:
            planes, label = self._planes(item), label_from(item[1], self.classes)
            pixels = planes if planes.dtype == torch.uint8 else pixels_from_floats(planes, self._low)
        except ValueError as error:
            raise ValueError(f"image {index}: {error}") from error
        return pixels, label

    @cached_property
    def _low(self) -> float:
        """0 or -1, the lower end of the range of floats, found from a sample of the images."""
        some = random_subset(SAMPLED_FOR_RANGE, len(self)).tolist()
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


@dataclass(frozen=True, eq=False, repr=False)
class StreamingDataset:
    """A labelled set of images that worker processes read ahead of training, in its order.

    It accepts the images that `ImageDataset` accepts, one at a time with its label.
    """

    images: MapDataset
    shape: tuple[int, int, int]
    class_names: tuple[str, ...] = ()
    """What the labels mean; empty where the images have no classes."""
    workers: int = 0
    """Number of worker processes; 0 reads in this process."""
    device: torch.device = torch.device("cpu")
    """The device of the batches."""
    class_counts: tuple[int, ...] = ()
    """The number of images of each class; empty where it is not known."""
    fingerprint: Fingerprint = Fingerprint()
    """Identifies the set wherever it is stored."""
    about: DataDescription | Callable[[], DataDescription] | None = None
    """What the reader of the set knows of it, or computes where it is needed."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def classes(self) -> int:
        """How many classes there are, 0 for none."""
        return len(self.class_names)

    @cached_property
    def description(self) -> DataDescription:
        """What its reader knows of the set, or else what is known without reading it."""
        about = self.about() if callable(self.about) else self.about
        return about or DataDescription("images", len(self), self.shape, self.class_names, self.class_counts)

    def __repr__(self) -> str:
        return str(self.description)

    @cached_property
    def converted(self) -> Converted:
        """The images as pixels."""
        return Converted(self.images, self.shape, self.classes)

    def to(self, device: torch.device | str) -> "StreamingDataset":
        """The same data set with batches on another device."""
        return replace(self, device=torch.device(device))

    def batches(self, seen: int, size: int, seed: int) -> Iterator[LabelledBatch]:
        """The batches of a run from data position `seen` on, without end; closing the iterator stops the workers.

        Raises ValueError for an image that cannot be converted.
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
    """The batches of a loader; of a ValueError that holds a worker's traceback only the last line is raised."""
    try:
        yield from loader
    except ValueError as error:
        lines = str(error).strip().splitlines() or [""]
        raise ValueError(lines[-1].removeprefix("ValueError: ")) from error


DataSource: TypeAlias = ImageDataset | StreamingDataset
"""What a run takes its batches from."""
