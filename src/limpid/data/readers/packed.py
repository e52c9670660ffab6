"""Packed images: a folder with the pixels of all images in one file, which is mapped into memory and checked.

The operating system reads the pages that are used and drops them when memory is short, so a set may be larger than
memory. Deleting the folder costs nothing but the time to decode the images again.
"""

import json
import math
import mmap
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from limpid.data.left_out import LeftOut
from limpid.data.readers.messages import one_line
from limpid.data.readers.values import ValueRange
from limpid.data.statistics import PixelStatistics
from limpid.runtime.terminal import echo

PIXELS, LABELS, HASHES, UNREAD, PAGES, ABOUT, REPORT = (
    "pixels.u8",
    "labels.npy",
    "hashes.npy",
    "unread.json",
    "pages.json",
    "about.json",
    "report.txt",
)
CHECKSUM_FIELD = "crc32"
"""A CRC finds damage in a third of the time of a SHA-256; nobody but this program writes to the folder."""
CHECKSUM_BLOCK = 2**20
MAX_RESIDENT_BYTES = 2**31
"""Size up to which a set is expected to stay in memory once it was read; of larger sets only the pages that are needed
are read, and their checksum is not computed at each start."""


@dataclass(frozen=True)
class PackedImages:
    """Images that are packed in a folder."""

    folder: Path
    count: int
    shape: tuple[int, int, int]
    refused: int
    """Number of unreadable images; the report names all of them."""
    examples: tuple[str, ...]
    """The first unreadable images, with the reasons."""
    notes: tuple[str, ...]
    """What else the user should know about the images, in words."""
    left_out: tuple[LeftOut, ...] = ()
    """The unreadable images by the reason."""
    statistics: PixelStatistics | None = None
    highest: tuple[tuple[ValueRange, float], ...] = ()
    """The largest value of the images of more than 8 bits, by the values that became black and white."""

    def __str__(self) -> str:
        channels, height, width = self.shape
        summary = ", ".join([f"{self.count:,} images of {height}x{width}, {channels} channels", *self.notes])
        if not self.refused:
            return summary
        return f"{summary}; {self.refused:,} could not be read ({'; '.join(self.examples)}): see {self.folder / REPORT}"

    @property
    def pixels(self) -> UInt8[Tensor, "n c h w"]:
        """All images, mapped into memory and read-only: the file is read where pixels are used."""
        return map_file(self.folder / PIXELS, (self.count, *self.shape))

    def unread_names(self) -> set[str]:
        """The names of the images that could not be read."""
        names = json.loads((self.folder / UNREAD).read_text(encoding="utf-8"))
        return set(names)

    def pages(self) -> dict[str, list[int]]:
        """The positions of the packed pages by the name of their file, of files of which several are packed."""
        return json.loads((self.folder / PAGES).read_text(encoding="utf-8"))

    @property
    def hashes(self) -> Int[np.ndarray, " n"]:
        """A hash of the pixels of each image."""
        return np.load(self.folder / HASHES, allow_pickle=False)

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """The label of each image."""
        return torch.from_numpy(np.load(self.folder / LABELS, allow_pickle=False))


def map_file(path: Path, shape: tuple[int, int, int, int]) -> UInt8[Tensor, "n c h w"]:
    """The bytes of a file as one tensor, mapped into memory. Raises ValueError if the file has another size."""
    if path.stat().st_size != math.prod(shape):
        raise ValueError(damage(path))
    with path.open("rb") as file:
        bytes_of_file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if math.prod(shape) > MAX_RESIDENT_BYTES and hasattr(mmap, "MADV_RANDOM"):
        bytes_of_file.madvise(mmap.MADV_RANDOM)  # else the system reads ahead, megabytes for an image
    with warnings.catch_warnings():  # torch warns that writing to it would crash: nothing writes to it
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        return torch.frombuffer(bytes_of_file, dtype=torch.uint8).view(shape)


@dataclass(frozen=True)
class PackedDataset:
    """Packed images one by one, for worker processes: each process maps the file for itself."""

    pack: PackedImages

    def __len__(self) -> int:
        return self.pack.count

    def __getitem__(self, index: int, /) -> tuple[UInt8[Tensor, "c h w"], int]:
        pixels, labels = _mapped_once(self.pack)
        return pixels[index], int(labels[index])


@lru_cache(maxsize=2)
def _mapped_once(pack: PackedImages) -> tuple[UInt8[Tensor, "n c h w"], Int[Tensor, " n"]]:
    return pack.pixels, pack.labels


def open_pack(folder: Path) -> PackedImages | None:
    """The packed images of a folder; None if there are none, or if they are damaged, which is reported."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        stated, written = about.pop(CHECKSUM_FIELD), about["written"]
        if not is_unchanged(folder, written) and pack_checksum(folder, json.dumps(about, sort_keys=True)) != stated:
            raise ValueError("its checksum differs")
        shape, examples, notes = (tuple(about[name]) for name in ("shape", "examples", "notes"))
        left_out = tuple(LeftOut(each["kind"], each["count"], tuple(each["examples"])) for each in about["left_out"])
        statistics = PixelStatistics(**about["statistics"])
        highest = tuple((ValueRange(black, white), value) for black, white, value in about["highest"])
        read = folder, about["count"], shape, about["refused"], examples, notes, left_out, statistics
        return PackedImages(*read, highest=highest)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if folder.exists():
            echo(f"{folder} is damaged ({one_line(error)}): its images are read anew", to_stderr=True)
        return None


def is_unchanged(folder: Path, written: int) -> bool:
    """Whether pixels that are too large to be read at each start have the time at which they were written."""
    status = (folder / PIXELS).stat()
    return status.st_size > MAX_RESIDENT_BYTES and status.st_mtime_ns == written


def pack_checksum(folder: Path, about: str) -> int:
    """The CRC-32 of the files of a pack and of its description; computed once while the files do not change."""
    statuses = [(folder / name).stat() for name in (PIXELS, LABELS, HASHES)]
    return _checksum(folder, about, *((status.st_ino, status.st_size, status.st_mtime_ns) for status in statuses))


@lru_cache(maxsize=16)
def _checksum(folder: Path, about: str, *files: tuple[int, ...]) -> int:
    total = crc32(about.encode())
    for name in (PIXELS, LABELS, HASHES):
        with (folder / name).open("rb", buffering=0) as file:
            while blob := file.read(CHECKSUM_BLOCK):
                total = crc32(blob, total)
    return total


def damage(path: Path) -> str:
    """The error message for a damaged file of a pack."""
    return f"{path} is damaged: remove {path.parent}, and it is made again"
