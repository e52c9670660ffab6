"""Images decoded once and kept: a folder with their pixels in one file, which a run maps into memory.

The system reads what is looked at and forgets it again when memory is wanted, so a set may be larger than memory. The
folder takes its name only when it is whole; deleting it costs nothing but the time to decode again.
"""

import json
import math
import mmap
import os
import shutil
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from limpid.data.readers.decode import DecodedImage, ImageSpec
from limpid.data.readers.messages import one_line
from limpid.data.readers.scan import ImageListing, Load, UnreadableImage
from limpid.runtime.terminal import echo, printable
from limpid.storage.atomic import part_of

PIXELS, LABELS, ABOUT, REPORT = "pixels.u8", "labels.npy", "about.json", "report.txt"
CHECKSUM_FIELD = "sha256"
EXAMPLES = 3
"""So many of the images that cannot be read are named at once."""
MAX_RESIDENT_BYTES = 2**31
"""Bytes that the system is expected to hold in memory for good; of larger sets it reads no more than is asked for."""
MAX_THREADS = 16
"""At most so many threads decode; Python's lock lets no more be of use."""


@dataclass(frozen=True)
class PackedImages:
    """Images that are packed in a folder."""

    folder: Path
    count: int
    shape: tuple[int, int, int]
    refused: int
    """How many could not be read; the report names all of them."""
    examples: tuple[str, ...]
    """The first of them, and why."""
    notes: tuple[str, ...]
    """What else is to be told, in words."""

    def __str__(self) -> str:
        channels, height, width = self.shape
        said = ", ".join([f"{self.count:,} images of {height}x{width}, {channels} channels", *self.notes])
        if not self.refused:
            return said
        return f"{said}; {self.refused:,} could not be read ({'; '.join(self.examples)}): see {self.folder / REPORT}"

    @property
    def pixels(self) -> UInt8[Tensor, "n c h w"]:
        """All images, mapped: pixels are read from the file when they are looked at, and are not to be written to."""
        return mapped(self.folder / PIXELS, (self.count, *self.shape))

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """The label of each."""
        return torch.from_numpy(np.load(self.folder / LABELS, allow_pickle=False))


def mapped(path: Path, shape: tuple[int, int, int, int]) -> UInt8[Tensor, "n c h w"]:
    """The bytes of a file as one tensor, read when they are looked at. Raises ValueError if they are not as many."""
    if path.stat().st_size != math.prod(shape):
        raise ValueError(damage(path))
    with path.open("rb") as file:
        bytes_of_file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if math.prod(shape) > MAX_RESIDENT_BYTES and hasattr(mmap, "MADV_RANDOM"):
        bytes_of_file.madvise(mmap.MADV_RANDOM)  # else the system reads ahead, megabytes for an image
    with warnings.catch_warnings():  # torch warns that to write to it would end in a fault: nobody does
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        return torch.frombuffer(bytes_of_file, dtype=torch.uint8).view(shape)


@dataclass(frozen=True)
class PackedDataset:
    """Packed images one by one, for processes of their own: each maps the file for itself."""

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
    """The pack of a folder, if there is one that is as it was written; of one that is not it says so."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        stated, written = about.pop(CHECKSUM_FIELD), about["written"]
        if not unchanged(folder, written) and digest(folder, json.dumps(about, sort_keys=True)) != stated:
            raise ValueError("its checksum differs")
        shape, examples, notes = (tuple(about[name]) for name in ("shape", "examples", "notes"))
        return PackedImages(folder, about["count"], shape, about["refused"], examples, notes)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if folder.exists():
            echo(f"{folder} is damaged ({one_line(error)}): its images are read anew", to_stderr=True)
        return None


def unchanged(folder: Path, written: int) -> bool:
    """Whether pixels that are too many to be read through at each start are as old as when they were written."""
    there = (folder / PIXELS).stat()
    return there.st_size > MAX_RESIDENT_BYTES and there.st_mtime_ns == written


def digest(folder: Path, about: str) -> str:
    """The SHA-256 of the files of a pack, and of what is said about them; read through once, unless they change."""
    files = [folder / PIXELS, folder / LABELS]
    return _digest(
        folder, about, *((there.st_ino, there.st_size, there.st_mtime_ns) for there in map(Path.stat, files))
    )


@lru_cache(maxsize=16)
def _digest(folder: Path, about: str, *files: tuple[int, ...]) -> str:
    whole = sha256(about.encode())
    for name in (PIXELS, LABELS):
        with (folder / name).open("rb") as file:
            whole.update(file_digest(file, "sha256").digest())
    return whole.hexdigest()


def damage(path: Path) -> str:
    """The line for a file of a pack that is not as it was written."""
    return f"{path} is damaged: remove {path.parent}, and it is made again"


def pack(
    folder: Path, place: ImageListing, chosen: Bool[np.ndarray, " n"], frame: ImageSpec, stop: bool
) -> PackedImages:
    """The chosen images of a place, decoded under a progress bar and packed into `folder`.

    Raises ValueError for the first that cannot be read if `stop`, if none can, and if there is no room for them.
    """
    part = part_of(folder)
    try:
        part.mkdir(parents=True)
        check_room(part, int(chosen.sum()), frame)
        with warnings.catch_warnings():  # what Pillow has to say of odd files is no concern of a person with a folder
            warnings.simplefilter("ignore")
            write_pack(part, place, chosen, frame, stop)
        if not folder.exists() or open_pack(folder) is None:  # else another process was first
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
    except OSError as error:
        advice = "LIMPID_DATA names another folder to keep data in"
        raise ValueError(f"cannot pack images in {folder.parent}: {error.strerror}; {advice}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    made = open_pack(folder)
    assert made is not None
    return made


def check_room(folder: Path, count: int, frame: ImageSpec) -> None:
    """Raise ValueError if the disk has not the room that so many images take."""
    needed, free = count * math.prod(frame.shape), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"{count:,} images need {needed:,} bytes in {folder.parent}, and {free:,} are free")


@dataclass
class PackStats:
    """What became of the images that were read."""

    refused: list[UnreadableImage]
    kept: list[int] = field(default_factory=list)
    """The places of those that are packed."""
    animated: list[str] = field(default_factory=list)
    enlarged: int = 0


def write_pack(folder: Path, place: ImageListing, chosen: Bool[np.ndarray, " n"], frame: ImageSpec, stop: bool) -> None:
    """Write the files of a pack. Raises as `pack` does."""
    tally = PackStats(list(place.refused))
    if stop and tally.refused:
        raise ValueError(stopping(place.root, tally.refused[0]))
    write_pixels(folder / PIXELS, place, chosen, frame, stop, tally)
    if not tally.kept:
        why = f"; {tally.refused[0]} was the first of {len(tally.refused):,}" if tally.refused else ""
        raise ValueError(f"no image in {printable(str(place.root))} could be read{why}")
    np.save(folder / LABELS, place.labels[tally.kept])
    lines = [f"cannot be read: {each}" for each in tally.refused]
    lines += [f"only its first frame is read: {printable(name)}" for name in tally.animated]
    (folder / REPORT).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    counts = {
        "of the other split": int((~chosen).sum()),
        "animated, first frame read": len(tally.animated),
        "enlarged": tally.enlarged,
        "other files": place.others,
    }
    about = {
        "count": len(tally.kept),
        "shape": frame.shape,
        "refused": len(tally.refused),
        "examples": list(map(str, tally.refused[:EXAMPLES])),
        "notes": [f"{n:,} {what}" for what, n in counts.items() if n],
        "written": (folder / PIXELS).stat().st_mtime_ns,
    }
    about[CHECKSUM_FIELD] = digest(folder, json.dumps(about, sort_keys=True))
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def write_pixels(
    path: Path, place: ImageListing, chosen: Bool[np.ndarray, " n"], frame: ImageSpec, stop: bool, tally: PackStats
) -> None:
    """Write the pixels of the chosen images one after another, and note in `tally` what became of each."""
    screen, total = Console(stderr=True), int(chosen.sum())
    with (
        path.open("xb") as file,
        Progress(console=screen, disable=not screen.is_terminal) as bar,
        closing(read_all(place.loads(chosen), frame, place.block_size)) as read,
    ):
        task = bar.add_task("reading images", total=total)
        for index, seen in zip(np.flatnonzero(chosen).tolist(), read, strict=True):
            name = str(place.names[index])
            if isinstance(seen, DecodedImage):
                file.write(seen.pixels.contiguous().numpy().data)
                tally.kept.append(index)
                tally.animated += [name] if seen.animated else []
                tally.enlarged += seen.enlarged
            elif stop:
                raise ValueError(stopping(place.root, UnreadableImage(name, seen)))
            else:
                tally.refused.append(UnreadableImage(name, seen))
            bar.advance(task)
        file.flush()
        os.fsync(file.fileno())


def stopping(root: Path, first: object) -> str:
    """The line for an image that stops the command."""
    return f"{printable(str(root))}: {first}; with on-error skip what cannot be read is left out"


def read_all(loads: Iterator[Load], frame: ImageSpec, together: int) -> Generator[DecodedImage | str, None, None]:
    """Every image, decoded by threads in their order; for one that cannot be read, why."""
    threads = min(
        MAX_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    waiting: deque[Future[list[DecodedImage | str]]] = deque()
    executor = ThreadPoolExecutor(threads)
    try:
        while block := list(islice(loads, together)):
            waiting.append(executor.submit(_read_block, block, frame))
            if len(waiting) > 2 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _read_block(block: list[Load], frame: ImageSpec) -> list[DecodedImage | str]:
    read: list[DecodedImage | str] = []
    for load in block:
        try:
            read.append(load(frame))
        except ValueError as error:
            read.append(str(error))
    return read
