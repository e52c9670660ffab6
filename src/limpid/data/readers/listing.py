"""What readers return before any image is decoded: the names, labels and sizes of the images in a folder or archive."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Int

from limpid.data.fingerprint import Fingerprint
from limpid.data.readers.decode import DecodedImage, ImageSpec
from limpid.runtime.terminal import printable

Load: TypeAlias = Callable[[ImageSpec], DecodedImage]
"""Reads one image. Raises ValueError, in one line, for an unreadable one."""


class UnreadableImage(NamedTuple):
    """An image that could not be read."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{printable(self.name)}: {self.why}"


@dataclass(frozen=True, eq=False)
class ImageListing:
    """The images of a folder or archive, sorted by name."""

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
    others: int = 0
    """Number of files that are no images."""
    content: Fingerprint = Fingerprint()
    """Identifies the images also after they are moved."""
    block_size: int = 64
    """Number of images that a thread decodes at a time."""
