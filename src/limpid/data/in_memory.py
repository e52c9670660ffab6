"""Images that are handed over in Python (arrays, tensors, a torch Dataset) as the data of a recipe."""

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from limpid.data.fingerprint import fingerprint_of_arrays
from limpid.data.images import ImageDataset
from limpid.data.stream import DataSource, StreamingDataset


@dataclass(frozen=True)
class InMemory:
    """Images from Python. A recipe file holds none of them: who resumes the run or loads it hands them over again."""

    source: DataSource | None = field(default=None, compare=False, repr=False)

    def open(self, device: torch.device | str) -> DataSource:
        """The images, on this device. Raises ValueError if nobody has handed them over."""
        if self.source is None:
            raise ValueError("the images of this run came from Python: pass the same images again as data=...")
        return self.source.to(device)


@runtime_checkable
class SizedDataset(Protocol):
    """A torch Dataset: its items are images, or pairs of an image and its label."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


PythonImages: TypeAlias = np.ndarray | Tensor | SizedDataset | ImageDataset | StreamingDataset
"""Images as Python holds them: n x height x width x channels in an array, n x channels x height x width in a tensor."""


def images_from_python(images: PythonImages) -> InMemory:
    """Images from Python as the data of a recipe: uint8, or floats in [0, 1] or [-1, 1].

    A Dataset is read once, so what it augments at random stays as it was read; `Recipe.augment` is the place for that.
    A StreamingDataset is read as the run goes on. Classes are named by the dataset's `classes` if it has them, or else
    numbered. Raises ValueError for what cannot be images.
    """
    if isinstance(images, ImageDataset | StreamingDataset):
        return InMemory(images)
    if isinstance(images, np.ndarray | Tensor):
        return InMemory(_with_fingerprint(images, [0] * len(images), ()))
    with torch.random.fork_rng(devices=[]):  # its transforms may draw from the generator of the program
        items = [images[index] for index in range(len(images))]
    pairs = [tuple(item) if isinstance(item, tuple | list) and len(item) == 2 else (item, None) for item in items]
    pixels = [image for image, _ in pairs]
    labels = [int(label) for _, label in pairs if label is not None]
    if not labels:
        return InMemory(_with_fingerprint(pixels, [0] * len(pixels), ()))
    names = getattr(images, "classes", None) or range(max(labels, default=0) + 1)
    return InMemory(_with_fingerprint(pixels, labels, tuple(map(str, names))))


def _with_fingerprint(images: Any, labels: list[int], class_names: tuple[str, ...]) -> ImageDataset:
    """A data set that is known by the content of its images and labels."""
    held = ImageDataset(images, labels, class_names)
    content = (held.pixels.cpu().contiguous().numpy().tobytes(), held.labels.cpu().numpy().tobytes())
    fingerprint = fingerprint_of_arrays(len(held), *content)
    return ImageDataset(held.pixels, held.labels, class_names, fingerprint)
