"""Images of one's own, in whatever form they are, brought to one size."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import compress, islice
from pathlib import Path
from typing import Literal

import torch

from limpid.data.description import DataDescription
from limpid.data.fingerprint import fingerprint_of_arrays
from limpid.data.images import ImageDataset, class_counts_from
from limpid.data.left_out import NUM_EXAMPLES
from limpid.data.readers.assignment import OPTIONS
from limpid.data.readers.fit import MAX_PIXELS, Channels, Fit, ImageSpec, Pad, Pages
from limpid.data.readers.formats import scan
from limpid.data.readers.listing import ImageListing, left_out_by_reason
from limpid.data.readers.pack import highest_value, pack, stop_message
from limpid.data.readers.packed import PackedDataset, PackedImages, open_pack
from limpid.data.readers.values import MAX_UINT16, ValueRange, check_value_ranges
from limpid.data.splits import EmptySplit, Split, named_splits, own_split, split_mask, split_sizes
from limpid.data.statistics import equal_images
from limpid.data.stream import DataSource, StreamingDataset
from limpid.runtime.log import warn_once
from limpid.runtime.terminal import printable
from limpid.storage.atomic import remove_abandoned
from limpid.storage.download import cache_dir, expand_home

MAX_GPU_BYTES = 2**31
"""Size in bytes up to which a set is held in a GPU's memory; larger ones stay on disk, and batches are copied."""
LAYOUT = 8
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
    white: int | Literal["auto"] = 0
    """The value that becomes white where 0 is black, instead of `range`; auto is the largest value of all images."""
    pages: Pages = "first"
    """The first page or frame of each TIFF and animation, or all: each is then an image, named as scan.tif#3.
    All pages of a file are in one split. Reduced copies in a TIFF are not read."""
    labels: str = ""
    """The source of classes. If not given: dataset.json (EDM), metadata.csv or .jsonl (Hugging Face), or sub-folders.
    Or: folders, prefix (a file's name up to the first _), numbered (without the _NUMBER at its end), none, or a table.
    A table is train.csv, or train.csv:COLUMN.
    In a file that holds labels itself: the name of their column or array."""
    split: Split = "train"
    """The images to train on, the held-out ones (test), or all; in a set that names its splits, also val.
    The held-out images of such a set are its test split, or else its val split."""
    held_out: float = 0.1
    """Fraction of the images to hold out where the set names no splits.
    They are chosen by their names, so new images change the split of no other image."""
    on_error: Literal["stop", "skip"] = "stop"
    """With an unreadable image: stop, or leave it out and list it in the report."""
    workers: int = 0
    """Worker processes that read packed images ahead of training; 0 reads them in the same process, usually as fast."""

    def open(self, device: torch.device | str) -> DataSource:
        """The images as training takes them, packed first if needed.

        With the training split the held-out images are packed too, so that a broken one is found before a run. Raises
        ValueError if there are no images.
        """
        listing = self._listing()
        packed = self._packed(listing)
        if packed.refused:
            warn_once(f"{printable(str(listing.root))}: {packed}")
        about = self._description(listing, packed)
        content = listing.content
        if self.pages == "all":
            content = fingerprint_of_arrays(packed.count, repr(listing.content).encode())
        resident = torch.device(device).type == "cpu" or math.prod((packed.count, *packed.shape)) <= MAX_GPU_BYTES
        if self.workers or not resident:
            counts = class_counts_from(packed.labels, len(listing.classes))
            dataset = PackedDataset(packed), packed.shape, listing.classes, self.workers
            streamed = StreamingDataset(*dataset, class_counts=counts, fingerprint=content, about=about)
            return streamed.to(device)
        return ImageDataset(packed.pixels, packed.labels, listing.classes, content, about).to(device)

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
        spec = self._spec()
        key = (LAYOUT, *source, spec, self.white, self.split, self.held_out)
        folder = cache_dir() / "packed" / hashlib.sha256(ascii(key).encode()).hexdigest()[:32]
        remove_abandoned(folder.parent)
        packed = open_pack(folder)
        if packed and packed.refused and self.on_error == "stop":
            raise ValueError(stop_message(listing.root, packed.examples[0]))
        if packed is None:
            chosen = split_mask(listing, self.split, self.held_out)
            if self.white == "auto":
                spec = replace(spec, value_range=ValueRange(0, highest_value(listing, spec)))
            packed = pack(folder, listing, chosen, spec, stop=self.on_error == "stop")
        return packed

    def _held_out(self, listing: ImageListing) -> tuple["Folder", PackedImages] | None:
        """The held-out split of the training set, and its packed images; None if it has none."""
        if self.split != "train" or not (self.held_out or named_splits(listing)):
            return None
        other = replace(self, split="test")
        try:
            packed = other._packed(listing)
        except EmptySplit:
            return None
        if packed.refused > len(listing.refused):  # those of the listing are named with the training images
            warn_once(f"{printable(str(listing.root))}, held out: {packed}")
        return other, packed

    def _description(self, listing: ImageListing, packed: PackedImages) -> DataDescription:
        """What the set was understood to be, with the images that are in both splits."""
        held_out = self._held_out(listing)
        if self.split in ("train", "all") and self._value_range() is None and self.white != "auto":
            check_value_ranges(
                printable(str(listing.root)), (*packed.highest, *(held_out[1].highest if held_out else ()))
            )
        equal = equal_images(packed.hashes, held_out[1].hashes) if held_out else []
        examples: list[str] = []
        if equal and held_out:
            first, second = zip(*equal[:NUM_EXAMPLES], strict=True)
            named = self._packed_names(listing, packed, first)
            others = held_out[0]._packed_names(listing, held_out[1], second)
            examples = [f"{named[i]} and {others[k]}" for i, k in zip(first, second, strict=True)]
        return DataDescription(
            str(listing.root),
            packed.count,
            packed.shape,
            listing.classes,
            class_counts_from(packed.labels, len(listing.classes)),
            packed.statistics,
            self._split_sizes(listing, packed, held_out and held_out[1]),
            (*packed.left_out, *listing.left_out),
            (*self._split_note(listing), *listing.notes, *packed.notes, *self._white_note(packed)),
            len(equal),
            tuple(examples),
        )

    def _split_sizes(
        self, listing: ImageListing, packed: PackedImages, held_out: PackedImages | None
    ) -> tuple[tuple[str, int], ...]:
        """The number of images of each split, without those that could not be read."""
        own = named_splits(listing)
        if own and self.pages == "first":
            unread = packed.unread_names() | (held_out.unread_names() if held_out else set())
            return split_sizes(listing, unread)
        name = own_split(listing, "test") if own else "held out"
        return (("train", packed.count), (name, held_out.count)) if held_out else ()

    def _split_note(self, listing: ImageListing) -> list[str]:
        """Which of several splits are read, where it is not the training split."""
        if self.split == "train" or not named_splits(listing):
            return []
        return ["all splits are read" if self.split == "all" else f"the split {own_split(listing, self.split)} is read"]

    def _white_note(self, packed: PackedImages) -> list[str]:
        """The white that was found, where all images were searched for it; or that of 16 bits, where none is stated."""
        if self.white == "auto":
            found = [value_range.white for value_range, _ in packed.highest]
            return [f"white is {max(found):g}, the largest value of all images"] if found else []
        found = [value for value_range, value in packed.highest if value_range.white == MAX_UINT16]
        if not found or self._value_range():
            return []
        return [
            f"16 bits: 0 is black and {MAX_UINT16} white, unless --data.white states it; the largest is {max(found):g}"
        ]

    def _packed_names(self, listing: ImageListing, packed: PackedImages, positions: Collection[int]) -> dict[int, str]:
        """The names of the packed images of this split at these positions. No list of all names is made."""
        chosen = compress(listing.names, split_mask(listing, self.split, self.held_out))
        unread = packed.unread_names() if packed.refused else set()
        names = (name for name in map(str, chosen) if name not in unread)
        if self.pages == "all":
            pages = packed.pages()
            names = (name if page is None else f"{name}#{page}" for name in names for page in pages.get(name, [None]))
        return {i: name for i, name in enumerate(islice(names, max(positions) + 1)) if i in positions}

    def _spec(self) -> ImageSpec:
        height, width = self.size, self.width or self.size
        if min(height, width) < 2 or height * width > MAX_PIXELS:
            raise ValueError(f"images of {height}x{width}: expected at least 2x2, and at most {MAX_PIXELS:,} pixels")
        return ImageSpec(height, width, self.channels, self.fit, self.pad, self._value_range(), self.pages)

    def _value_range(self) -> ValueRange | None:
        """The values that are black and white where they are stated. Raises ValueError unless they are two numbers."""
        if self.white and self.range:
            raise ValueError(f"white {self.white} and a range: expected one of them")
        stated = self.range if self.white in (0, "auto") else (0, self.white)
        if not stated:
            return None
        if len(stated) != 2 or not -math.inf < stated[0] < stated[1] < math.inf:
            raise ValueError(f"range {' '.join(f'{value:g}' for value in stated)}: expected two values, LOW below HIGH")
        return ValueRange(*stated)
