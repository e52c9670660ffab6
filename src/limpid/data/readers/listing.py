"""What readers return before any image is decoded: which images there are, their labels and splits, and what was left
out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Int

from limpid.data.fingerprint import Fingerprint
from limpid.data.left_out import LeftOut, LeftOutCounter, shown_name
from limpid.data.readers.fit import DecodedImage, ImageSpec

Load: TypeAlias = Callable[[ImageSpec], DecodedImage]
"""Reads one image. Raises ValueError, in one line, for an unreadable one."""


class UnreadableImage(NamedTuple):
    """An image that could not be read."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{shown_name(self.name)}: {self.why}"


class NoImagesError(ValueError):
    """A file has the form of a set, and none of its columns or arrays can be images."""


OwnSplit: TypeAlias = Literal["train", "val", "test"]
"""A split that a set itself names, by its folders, its files or a column of a table."""
OWN_SPLITS: tuple[OwnSplit, ...] = ("train", "val", "test")


def left_out_by_reason(refused: Iterable[UnreadableImage]) -> tuple[LeftOut, ...]:
    """The images that cannot be read, counted by the reason."""
    counter = LeftOutCounter()
    for image in refused:
        counter.add(f"files that cannot be read: {image.why}", image.name)
    return counter.records()


@dataclass(frozen=True, eq=False)
class ImageListing:
    """The images of a folder or archive, sorted by name.

    Every reader fills the fields up to `loads`; `splits` where the set names them, and `left_out` and `notes` with all
    that its owner should know of how it was understood: they are printed before training, and saved with the run.
    """

    root: Path
    names: Sequence[str] | range
    """Their names below the root; these alone decide which images are held out."""
    labels: Int[np.ndarray, " n"]
    classes: tuple[str, ...]
    """The names of the classes; empty where the images have none, and all labels are then 0."""
    fingerprint: str
    """Changes whenever the images do, as far as the sizes and times of files show it."""
    loads: Callable[[Bool[np.ndarray, " n"]], Iterator[Load]]
    """Returns a reader for each image that a mask selects."""
    refused: tuple[UnreadableImage, ...] = ()
    """Files with the name of an image that cannot be opened."""
    left_out: tuple[LeftOut, ...] = ()
    """The files or arrays that are no images of the set, by kind: a `LeftOutCounter` makes them."""
    notes: tuple[str, ...] = ()
    """What was understood, one line each: "labels from train.csv, column breed"."""
    splits: Sequence[OwnSplit | None] = ()
    """The split that the set names for each image, or None for an image of no split, which is read with `all` alone;
    empty where the set names no splits, and images are then held out by their names."""
    content: Fingerprint = Fingerprint()
    """Identifies the images also after they are moved."""
    block_size: int = 64
    """Number of images that a thread decodes at a time."""
