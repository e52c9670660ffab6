"""Images of one's own: a folder, a zip or an .npz of them, brought to one size."""

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool

from limpid.data.images import ImageDataset, class_counts_from
from limpid.data.readers.decode import MAX_PIXELS, Channels, Fit, ImageSpec
from limpid.data.readers.npz import scan_npz
from limpid.data.readers.pack import PackedDataset, PackedImages, open_pack, pack, stopping
from limpid.data.readers.scan import SUFFIXES, ImageListing, bytes_of, scan_folder, scan_zip
from limpid.data.stream import DataSource, StreamingDataset
from limpid.runtime.terminal import echo, printable
from limpid.storage.atomic import remove_abandoned
from limpid.storage.download import cache_dir, expanded
from limpid.storage.regular_files import require_regular

Split: TypeAlias = Literal["train", "test", "all"]

MAX_GPU_BYTES = 2**31
"""Bytes up to which a set is held on a GPU; larger ones stay on disk, and each batch is sent."""
LAYOUT = 2
"""Number of the form in which images are packed: with another, all are packed anew."""


@dataclass(frozen=True)
class Folder:
    """Your own images: of a folder and all below it, a .zip of one, or an .npz (images, and labels if there are any).

    Sub-folders are classes, if every image is in one. Images are decoded once and kept in the folder `packed` of
    $LIMPID_DATA, or of limpid's cache; a run reads them from there.
    """

    root: str = ""
    """The folder, .zip or .npz."""
    size: int = 32
    """Height of the images, and width unless that is given, in pixels."""
    width: int = 0
    """Width, for images that are not square."""
    channels: Channels = "RGB"
    """Colours, grey (L), or colours and alpha; without alpha, what is transparent shows white."""
    fit: Fit = "crop"
    """How an image of another aspect fits: its middle is cut out, or it is stretched, or padded with white."""
    split: Split = "train"
    """Those to train on, those held out, or both."""
    held_out: float = 0.1
    """Share of the images that is held out; which, each one's name decides, so that new images move none."""
    on_error: Literal["stop", "skip"] = "stop"
    """What an image that cannot be read does: stop the command, or be left out and named."""
    workers: int = 0
    """Processes that read the packed images ahead of the run; 0 reads them in it, which is usually as fast."""

    def open(self, device: torch.device | str) -> DataSource:
        """The images as a run takes them, packed. Raises ValueError if they cannot be had."""
        place = self._place()
        packed = self._packed(place)
        off_disk = torch.device(device).type == "cpu" or math.prod((packed.count, *packed.shape)) <= MAX_GPU_BYTES
        if self.workers or not off_disk:
            counts = class_counts_from(packed.labels, len(place.classes))
            rows = PackedDataset(packed), packed.shape, place.classes, self.workers
            return StreamingDataset(*rows, class_counts=counts, fingerprint=place.content).to(device)
        return ImageDataset(packed.pixels, packed.labels, place.classes, place.content).to(device)

    def _place(self) -> ImageListing:
        """What is at the root. Raises ValueError if there are no images."""
        if not self.root:
            raise ValueError("no images are named: name a folder, a .zip or an .npz with --data.root PATH")
        root = expanded(self.root)
        if not root.exists():
            raise ValueError(f"no folder, .zip or .npz at {printable(str(root))}")
        if not root.is_dir():
            require_regular(root)
        place = scan_folder(root) if root.is_dir() else (scan_npz if root.suffix.lower() == ".npz" else scan_zip)(root)
        if not len(place.names):
            raise ValueError(f"no image in {printable(str(root))}: looked for files named {', '.join(SUFFIXES)}")
        return place

    def _packed(self, place: ImageListing) -> PackedImages:
        """The images from where they are kept, packed there first if they are new or have changed."""
        there = (str(place.root.resolve()), place.fingerprint, place.refused)
        what = (LAYOUT, *there, self._frame(), self.split, self.held_out)
        kept = cache_dir() / "packed" / hashlib.sha256(ascii(what).encode()).hexdigest()[:32]
        remove_abandoned(kept.parent)
        packed = open_pack(kept)
        if packed and packed.refused and self.on_error == "stop":
            raise ValueError(stopping(place.root, packed.examples[0]))
        if packed is None or packed.refused:
            packed = packed or pack(kept, place, self._chosen(place), self._frame(), stop=self.on_error == "stop")
            echo(f"{printable(str(place.root))}: {packed}", to_stderr=True)
        return packed

    def _chosen(self, place: ImageListing) -> Bool[np.ndarray, " n"]:
        """Which images are of the split. Raises ValueError if none is."""
        if not 0 <= self.held_out <= 1:
            raise ValueError(f"held-out {self.held_out}: expected a share, 0 to 1")
        n = len(place.names)
        test = np.fromiter((unit_hash(str(name)) < self.held_out for name in place.names), bool, n)
        chosen = {"train": ~test, "test": test, "all": np.ones(n, bool)}[self.split]
        if not chosen.any():
            share = f"with {self.held_out:g} of them held out"
            raise ValueError(
                f"none of {n:,} images in {printable(str(place.root))} is of the split {self.split!r} {share}"
            )
        return chosen

    def _frame(self) -> ImageSpec:
        height, width = self.size, self.width or self.size
        if min(height, width) < 2 or height * width > MAX_PIXELS:
            raise ValueError(f"images of {height}x{width}: expected at least 2x2, and at most {MAX_PIXELS:,} pixels")
        return ImageSpec(height, width, self.channels, self.fit)


def unit_hash(name: str) -> float:
    """A number in [0, 1) that the name alone decides, as if drawn evenly."""
    return int.from_bytes(hashlib.sha256(bytes_of(name)).digest()[:6], "big") / 2**48
