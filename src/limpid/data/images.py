"""Images in memory, and the order in which a run trains on them.

A run reads an endless sequence of images: each epoch is a permutation of the set, drawn from the run's seed. A batch is
a range of that sequence, addressed by the number of images before it, so it can be made again at any time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import count
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from limpid.data.convert import ImagesLike, LabelsLike, labels_from, pixels_from_images
from limpid.data.description import DataDescription
from limpid.data.fingerprint import UNKNOWN, Fingerprint
from limpid.data.left_out import NUM_EXAMPLES
from limpid.data.statistics import equal_images, image_hashes, pixel_chunks, pixel_statistics, statistics_and_hashes
from limpid.runtime.rng import generator, random_subset

PIXEL_STEP = 0.0078431367
"""The step from one grey level to the next in [-1, 1], 2 / 255, rounded down in float32: no pixel is above 1."""

LabelledBatch: TypeAlias = tuple[UInt8[Tensor, "b c h w"], Int[Tensor, " b"]]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ImageDataset:
    """A labelled set of images as one tensor, on any device.

    It takes tensors, numpy arrays, and lists of these or of PIL images: uint8 as it is, floats in [0, 1] or [-1, 1].
    Raises ValueError for others, and for labels that are none of its classes.
    """

    pixels: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    class_names: tuple[str, ...] = ()
    """What the labels mean; empty where the images have no classes."""
    fingerprint: Fingerprint = UNKNOWN
    """Identifies the set wherever it is stored; unknown for a subset."""
    about: DataDescription | None = None
    """What the reader of the set knows of it; `description` is this, or made from the pixels."""
    held_out: "Callable[[], ImageDataset | None] | None" = None
    """Reads the held-out images of this training set, if it has any: `description` names those that are equal to a
    training image."""

    def __init__(
        self,
        pixels: ImagesLike,
        labels: LabelsLike,
        class_names: Sequence[str] = (),
        fingerprint: Fingerprint = UNKNOWN,
        about: DataDescription | None = None,
        held_out: "Callable[[], ImageDataset | None] | None" = None,
    ) -> None:
        object.__setattr__(self, "pixels", pixels_from_images(pixels))
        object.__setattr__(self, "labels", labels_from(labels, len(class_names)))
        object.__setattr__(self, "class_names", tuple(class_names))
        object.__setattr__(self, "fingerprint", fingerprint)
        object.__setattr__(self, "about", about)
        object.__setattr__(self, "held_out", held_out)
        if not 0 < len(self.pixels) == len(self.labels):
            given = f"{len(self.pixels)} images and {len(self.labels)} labels"
            raise ValueError(f"{given}: expected at least one image, and a label for each")

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, c, h, w = self.pixels.shape
        return c, h, w

    @property
    def classes(self) -> int:
        """How many classes there are, 0 for none."""
        return len(self.class_names)

    @cached_property
    def class_counts(self) -> tuple[int, ...]:
        """How many images each class has; empty where there are no classes."""
        return class_counts_from(self.labels, len(self.class_names))

    @cached_property
    def description(self) -> DataDescription:
        """What is in the set: counts, classes, splits, statistics of the pixels, and what was left out."""
        if self.about:
            return self.about
        facts = "images", len(self), self.shape, self.class_names, self.class_counts
        held_out = self.held_out and self.held_out()
        if not held_out:
            return DataDescription(*facts, pixel_statistics(pixel_chunks(self.pixels)))
        statistics, hashes = statistics_and_hashes(pixel_chunks(self.pixels))
        equal = equal_images(hashes, image_hashes(pixel_chunks(held_out.pixels)))
        splits = ("train", len(self)), ("test", len(held_out))
        examples = tuple(f"train/{i} and test/{k}" for i, k in equal[:NUM_EXAMPLES])
        return DataDescription(*facts, statistics, splits, duplicates=len(equal), duplicate_examples=examples)

    def __repr__(self) -> str:
        return str(self.description)

    def to(self, device: torch.device | str) -> "ImageDataset":
        """The same images on another device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def subset(self, n: int) -> "ImageDataset":
        """A random subset of n images, always the same; all images if there are no more than n."""
        if n >= len(self):
            return self
        pixels, labels = self.fetch(random_subset(n, len(self)))
        return replace(self, pixels=pixels, labels=labels, fingerprint=UNKNOWN, about=None, held_out=None)

    def fetch(self, indices: Int[Tensor, " b"]) -> LabelledBatch:
        """The images at `indices` and their labels."""
        device = self.pixels.device
        # A blocking copy would make the host wait in every step until the GPU has caught up.
        on_device = indices.to(device, non_blocking=device.type == "cuda")
        return gather(self.pixels, on_device), self.labels.index_select(0, on_device)

    def batch(self, seen: int, size: int, seed: int) -> LabelledBatch:
        """The `size` images that the run with this seed trains on after its first `seen`."""
        return self.fetch(shuffled_indices(seen, size, len(self), seed))

    def batches(self, start: int, size: int, seed: int) -> Iterator[LabelledBatch]:
        """The batches of a run from data position `start` on, without end."""
        return (self.batch(start, size, seed) for start in count(start, size))


def class_counts_from(labels: Int[Tensor, " n"], classes: int) -> tuple[int, ...]:
    """The number of labels of each class; empty without classes."""
    return tuple(torch.bincount(labels.cpu(), minlength=classes).tolist()) if classes else ()


def channels_last(pixels: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """The same images in memory format channels_last, as networks take them, so that no batch is converted."""
    return pixels.contiguous(memory_format=torch.channels_last)


def gather(pixels: UInt8[Tensor, "n c h w"], indices: Int[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
    """The images at `indices`, in the same memory layout.

    On a CPU this copies image by image, where [] goes pixel by pixel and takes more than eight times as long.
    """
    if pixels.is_contiguous(memory_format=torch.channels_last):
        return pixels.permute(0, 2, 3, 1).index_select(0, indices).permute(0, 3, 1, 2)
    return pixels.index_select(0, indices)


def shuffled_indices(seen: int, size: int, n: int, seed: int) -> Int[Tensor, " b"]:
    """The indices of the `size` images, of n, that a run trains on after its first `seen`; they may span epochs."""
    if size < 1:
        raise ValueError(f"a batch of {size} images: expected at least 1")
    epochs = range(seen // n, (seen + size - 1) // n + 1)
    return torch.cat([_permutation(e, n, seed)[max(seen - e * n, 0) : seen + size - e * n] for e in epochs])


@lru_cache(maxsize=2)
def _permutation(epoch: int, n: int, seed: int) -> Int[Tensor, " n"]:
    return torch.randperm(n, generator=generator("cpu", seed, "order", epoch))


def normalize(pixels: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels 0..255 as float32 in [-1, 1]; 255 is 1 but for its last bits. Raises ValueError unless they are uint8."""
    if pixels.dtype != torch.uint8:
        raise ValueError(f"pixels are {pixels.dtype}: expected uint8")
    x = pixels.float()
    return torch.add(x.new_full((), -1.0), x, alpha=PIXEL_STEP, out=x)  # once over x, not once for each operation


def to_uint8(x: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Numbers in [-1, 1] as the nearest pixels 0..255, clipped."""
    return (x.float() * 127.5 + 128).clip(0, 255).to(torch.uint8)


def resize(pixels: UInt8[Tensor, "n c h w"], size: int | tuple[int, int]) -> UInt8[Tensor, "n c h2 w2"]:
    """The images at another size, (height, width) or the side of a square: bilinear and antialiased.

    For pixels in the host's memory. Computed in whole numbers: at simple ratios (2:1, 1:2, 2:3) it is Pillow's result
    bit for bit, elsewhere some pixels differ from it by 1 or 2 of 255.
    """
    h, w = (size, size) if isinstance(size, int) else size
    if min(h, w) < 2:  # where a side is 1, torch resizes wrongly or not at all
        raise ValueError(f"images of {h}x{w}: expected at least 2x2")
    if pixels.shape[2:] == (h, w):
        return pixels
    return F.interpolate(pixels, (h, w), mode="bilinear", antialias=True)
