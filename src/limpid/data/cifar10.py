"""CIFAR-10, found on this machine or downloaded."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.data.description import DataDescription
from limpid.data.fingerprint import fingerprint_of_arrays
from limpid.data.images import ImageDataset, channels_last, resize
from limpid.data.readers.cifar10_files import SOUGHT, Arrays, Cifar10Split, find_cifar10, read_cifar10
from limpid.data.stream import DataSource, StreamingDataset
from limpid.runtime.rng import generator
from limpid.storage.atomic import remove_abandoned
from limpid.storage.download import cache_dir, download, expand_home

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"
OWN_IMAGES = "images of your own are read with --data Folder"
SIZES: dict[Cifar10Split, int] = {"train": 50_000, "test": 10_000}
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Cifar10:
    """Small colour photographs of ten kinds of things: 50,000 to train on, 10,000 to test (Krizhevsky, 2009).

    The set is read from `root`; it is an error if it is not there. Without a root it is read from $LIMPID_DATA, or from
    the user's cache folder if that is not set, and downloaded into it (170 MB) the first time.
    """

    size: int = 32
    """Side of the images, in pixels; 32 is as published."""
    split: Cifar10Split = "train"
    root: str = ""
    """The published folder or archive, or the folder that holds either."""
    workers: int = 0
    """Worker processes that read images during training; 0 holds all images on the device from the start."""

    def open(self, device: torch.device | str) -> DataSource:
        """The images as training takes them: in memory, or streamed by `workers`."""
        return self._source(self._published()).to(device)

    def random(self, device: torch.device | str) -> DataSource:
        """Random pixels and labels of the same number and shape as the set, to measure speed without it."""
        n, draw = SIZES[self.split], generator("cpu", "CIFAR-10")
        pixels = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=draw)
        return self._source(ImageDataset(pixels, torch.arange(n) % len(CIFAR10_CLASSES), CIFAR10_CLASSES)).to(device)

    def load(self) -> ImageDataset:
        """All images in memory. Raises ValueError if they are not found and cannot be downloaded."""
        return self._resident(self._published())

    def _source(self, images: ImageDataset) -> DataSource:
        """The published images, all in memory, or each resized when it is read."""
        if not self.workers:
            return self._resident(images)
        shape = (3, self.size, self.size)
        return StreamingDataset(
            Resized(images, self.size),
            shape,
            CIFAR10_CLASSES,
            self.workers,
            class_counts=images.class_counts,
            fingerprint=images.fingerprint,
            about=partial(self._description, images),
        )

    def _description(self, published: ImageDataset) -> DataDescription:
        """What is known of the published images; without the statistics of their pixels where they are resized."""
        about = replace(published, held_out=replace(self, size=32)._held_out).description
        shape = (3, self.size, self.size)
        return about if about.shape == shape else replace(about, shape=shape, statistics=None)

    def _resident(self, images: ImageDataset) -> ImageDataset:
        return replace(images, pixels=channels_last(resize(images.pixels, self.size)))

    def _published(self) -> ImageDataset:
        pixels, labels = _read_from(self.root, self.split) if self.root else _cached(self.split)
        planes = torch.from_numpy(pixels).view(-1, 3, 32, 32)
        content = fingerprint_of_arrays(len(pixels), pixels.data, labels.astype(np.uint8).data)
        tensors = planes, torch.from_numpy(labels.astype(np.int64))
        return ImageDataset(*tensors, CIFAR10_CLASSES, content, held_out=self._held_out)

    def _held_out(self) -> ImageDataset | None:
        """The test images of the training set; None if their file is not where the training images are."""
        root = expand_home(self.root) if self.root else cache_dir()
        if self.split != "train" or not find_cifar10(root, "test"):
            return None
        return replace(self, split="test", root=str(root)).load()


@dataclass(frozen=True, eq=False)
class Resized:
    """Images that are resized one by one, when they are read."""

    images: ImageDataset
    size: int

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> tuple[UInt8[Tensor, "c h w"], int]:
        pixels, labels = self.images.pixels[index : index + 1], self.images.labels
        return resize(pixels, self.size)[0], int(labels[index])


def _read_from(root: str, split: Cifar10Split) -> Arrays:
    path = expand_home(root)
    if not (found := find_cifar10(path, split)):
        raise ValueError(f"no CIFAR-10 at {path}: looked for {SOUGHT}, there and in it; {OWN_IMAGES}")
    return read_cifar10(*found, split)


def _cached(split: Cifar10Split) -> Arrays:
    """The split from the cache folder, downloaded into it first if it is not there."""
    remove_abandoned(cache_dir())
    if not find_cifar10(cache_dir(), split):
        try:
            download(URL, f"md5:{MD5}", cache_dir() / URL.rpartition("/")[2])
        except ValueError as error:
            advice = "point to a copy with --data.root PATH or LIMPID_DATA"
            raise ValueError(f"no CIFAR-10 in {cache_dir()} (looked for {SOUGHT}), and {error}; {advice}") from error
    return _read_from(str(cache_dir()), split)
