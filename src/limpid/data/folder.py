"""Images of one's own, in whatever form they are, brought to one size."""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from limpid.data.images import ImageDataset, class_counts_from
from limpid.data.readers.assignment import OPTIONS
from limpid.data.readers.fit import MAX_PIXELS, Channels, Fit, ImageSpec, Pad
from limpid.data.readers.formats import scan
from limpid.data.readers.listing import ImageListing, left_out_by_reason
from limpid.data.readers.pack import pack, stop_message
from limpid.data.readers.packed import PackedDataset, PackedImages, open_pack
from limpid.data.readers.values import ValueRange
from limpid.data.splits import Split, split_mask
from limpid.data.stream import DataSource, StreamingDataset
from limpid.runtime.terminal import echo, printable
from limpid.storage.atomic import remove_abandoned
from limpid.storage.download import cache_dir, expand_home

MAX_GPU_BYTES = 2**31
"""Size in bytes up to which a set is held in a GPU's memory; larger ones stay on disk, and batches are copied."""
LAYOUT = 3
"""Version of the packed form: when it changes, all images are packed again."""


@dataclass(frozen=True)
class Folder:
    """Your own images: a folder of files or a .zip of one, or a form that `readers.formats` lists.

    Folders train, val and test are splits; sub-folders are classes, if every image is in one. Images are decoded once
    and saved in the folder `packed` of $LIMPID_DATA, or of limpid's cache; a run reads them from there.
    """

    root: str = ""
    """The folder or file."""
    size: int = 32
    """Height of the images, and width unless that is given, in pixels."""
    width: int = 0
    """Width, for images that are not square."""
    channels: Channels = "RGB"
    """RGB, L (grey) or RGBA; without alpha, transparent pixels become white."""
    fit: Fit = "crop"
    """How an image of another aspect ratio fits: cropped in the middle, stretched, or padded.

    Images that are padded are made smaller if they are too large, and never larger."""
    pad: Pad = "white"
    """What is around padded images: white or black; around RGBA it is transparent."""
    range: tuple[float, ...] = ()
    """The values that become black and white, for arrays and for images of more than 8 bits; those outside are clipped.

    Unless it is given: 0 and 65535 for 16 bits, 0 and 1 or -1 and 1 for floats; others are refused."""
    labels: str = ""
    """Where classes are from. Left empty: dataset.json (EDM), metadata.csv or .jsonl (Hugging Face), or sub-folders.
    folders, prefix (the file's name up to the first _), none, or a table: train.csv, or train.csv:COLUMN. In a form
    that holds labels itself, the name of their column or array."""
    split: Split = "train"
    """The images to train on, the held-out ones, or all. In a set that names its splits, the held-out ones are test, or
    else val."""
    held_out: float = 0.1
    """Fraction of the images to hold out where the set names no splits; chosen by their names, so that adding images
    changes no other's split."""
    on_error: Literal["stop", "skip"] = "stop"
    """With an unreadable image: stop, or leave it out and list it in the report."""
    workers: int = 0
    """Worker processes that read packed images ahead of training; 0 reads them in the same process, usually as fast."""

    def open(self, device: torch.device | str) -> DataSource:
        """The images as training takes them, packed first if needed. Raises ValueError if there are none."""
        listing = self._listing()
        packed = self._packed(listing)
        resident = torch.device(device).type == "cpu" or math.prod((packed.count, *packed.shape)) <= MAX_GPU_BYTES
        if self.workers or not resident:
            counts = class_counts_from(packed.labels, len(listing.classes))
            dataset = PackedDataset(packed), packed.shape, listing.classes, self.workers
            return StreamingDataset(*dataset, class_counts=counts, fingerprint=listing.content).to(device)
        return ImageDataset(packed.pixels, packed.labels, listing.classes, listing.content).to(device)

    def with_absolute_labels(self) -> "Folder":
        """The same with the full path of a table of labels that is neither in the root nor beside it."""
        path, colon, columns = self.labels.partition(":")
        root = expand_home(self.root)
        near = [root / path, root.parent / path]
        if self.labels in OPTIONS or not expand_home(path).is_file() or any(map(Path.exists, near)):
            return self
        return replace(self, labels=f"{expand_home(path).absolute()}{colon}{columns}")

    def _listing(self) -> ImageListing:
        """The images at the root. Raises ValueError if there are none."""
        if not self.root:
            raise ValueError("no images are named: name a folder or a file of images with --data.root PATH")
        root = expand_home(self.root)
        if not root.exists():
            raise ValueError(f"no folder or file at {printable(str(root))}")
        listing = scan(root, self.labels)
        if not len(listing.names):
            found = "; ".join(map(str, [*left_out_by_reason(listing.refused), *listing.left_out])) or "no file"
            raise ValueError(f"no image in {printable(str(root))}: it holds {found}")
        return listing

    def _packed(self, listing: ImageListing) -> PackedImages:
        """The packed images from the cache, packed first if they are new or have changed."""
        labels = hashlib.sha256(listing.labels.tobytes() + ascii((listing.classes, listing.splits)).encode()).digest()
        source = (str(listing.root.resolve()), listing.fingerprint, listing.refused, labels)
        key = (LAYOUT, *source, self._spec(), self.split, self.held_out)
        folder = cache_dir() / "packed" / hashlib.sha256(ascii(key).encode()).hexdigest()[:32]
        remove_abandoned(folder.parent)
        packed = open_pack(folder)
        if packed and packed.refused and self.on_error == "stop":
            raise ValueError(stop_message(listing.root, packed.examples[0]))
        if packed is None or packed.refused:
            chosen = split_mask(listing, self.split, self.held_out)
            packed = packed or pack(folder, listing, chosen, self._spec(), stop=self.on_error == "stop")
            echo(f"{printable(str(listing.root))}: {packed}", to_stderr=True)
        return packed

    def _spec(self) -> ImageSpec:
        height, width = self.size, self.width or self.size
        if min(height, width) < 2 or height * width > MAX_PIXELS:
            raise ValueError(f"images of {height}x{width}: expected at least 2x2, and at most {MAX_PIXELS:,} pixels")
        return ImageSpec(height, width, self.channels, self.fit, self.pad, self._value_range())

    def _value_range(self) -> ValueRange | None:
        """The values that are black and white where they are stated. Raises ValueError unless they are two numbers."""
        if not self.range:
            return None
        if len(self.range) != 2 or not -math.inf < self.range[0] < self.range[1] < math.inf:
            raise ValueError(f"range {' '.join(map(str, self.range))}: expected two values, LOW below HIGH")
        return ValueRange(*self.range)
