"""Packing: the images of a listing decoded once, by threads, and written to a folder that `packed` reads.

The folder is written under another name and takes its own when it is complete.
"""

import json
import math
import os
import shutil
import warnings
from array import array
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from limpid.data.left_out import quantity
from limpid.data.readers.fit import DecodedImage, ImageSpec
from limpid.data.readers.listing import ImageListing, Load, UnreadableImage, left_out_by_reason
from limpid.data.readers.packed import (
    ABOUT,
    CHECKSUM_FIELD,
    HASHES,
    LABELS,
    PAGES,
    PIXELS,
    REPORT,
    UNREAD,
    PackedImages,
    open_pack,
    pack_checksum,
)
from limpid.data.readers.values import ValueRange
from limpid.data.statistics import file_chunks, statistics_and_hashes
from limpid.runtime.progress_line import progress
from limpid.runtime.terminal import printable
from limpid.storage.atomic import part_of

EXAMPLES = 3
"""Number of unreadable images that the summary names."""
MAX_THREADS = 16
"""Limit of the threads that decode; because of Python's global lock more are of no use."""


def pack(
    folder: Path, listing: ImageListing, chosen: Bool[np.ndarray, " n"], spec: ImageSpec, stop: bool
) -> PackedImages:
    """The chosen images of a listing, decoded and packed into `folder`; progress goes to stderr.

    Raises ValueError for the first unreadable image if `stop`, if all are unreadable, and if the disk has no room.
    """
    part = part_of(folder)
    try:
        part.mkdir(parents=True)
        check_room(part, int(chosen.sum()), spec)
        with warnings.catch_warnings():  # Pillow's warnings about odd files are of no use to the owner of the images
            warnings.simplefilter("ignore")
            write_pack(part, listing, chosen, spec, stop)
        if not folder.exists() or open_pack(folder) is None:  # else another process was first
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
    except OSError as error:
        advice = "LIMPID_DATA names another folder to keep data in"
        raise ValueError(f"cannot pack images in {folder.parent}: {error.strerror}; {advice}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    packed = open_pack(folder)
    assert packed is not None
    return packed


def check_room(folder: Path, count: int, spec: ImageSpec) -> None:
    """Raise ValueError if the disk has no room for `count` images."""
    needed, free = count * math.prod(spec.shape), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"{count:,} images need {needed:,} bytes in {folder.parent}, and {free:,} are free")


@dataclass
class PackStats:
    """Which images were packed and which were not."""

    refused: list[UnreadableImage]
    packed: "array[int]" = field(default_factory=lambda: array("q"))
    """The positions in the listing of the images that were packed: 8 bytes each, where a list would have 36."""
    with_more_pages: list[str] = field(default_factory=list)
    """The names of files of which one of several pages was packed."""
    pages: dict[str, list[int]] = field(default_factory=dict)
    """The positions of the pages that were packed, by the name of the file, where they are several."""
    enlarged: int = 0
    highest: dict[ValueRange, float] = field(default_factory=dict)
    """The largest value of the images of more than 8 bits, by the values that became black and white."""

    def add(self, index: int, name: str, image: DecodedImage) -> None:
        """Record that all pages of an image were packed."""
        pages = pages_of(image)
        self.packed.extend([index] * len(pages))
        self.with_more_pages += [name] if image.has_more else []
        if len(pages) > 1:
            self.pages[name] = [page.page for page in pages]
        for page in pages:
            self.enlarged += page.enlarged
            if page.value_range is not None:
                self.highest[page.value_range] = max(page.highest, self.highest.get(page.value_range, page.highest))

    def notes(self) -> list[str]:
        """What the user should know of them, in words."""
        notes = [f"{quantity(self.enlarged, 'images')} enlarged"] if self.enlarged else []
        if n := len(self.with_more_pages):
            more = f"{quantity(n, 'files')} {'has' if n == 1 else 'have'} more pages"
            notes.append(f"{more}; --data.pages all reads them")
        if self.pages:
            notes.append(f"{sum(map(len, self.pages.values())):,} pages of {quantity(len(self.pages), 'files')}")
        return notes


def pages_of(image: DecodedImage) -> list[DecodedImage]:
    """All pages that were read with an image, in their order."""
    return [image, *image.others]


def write_pack(
    folder: Path, listing: ImageListing, chosen: Bool[np.ndarray, " n"], spec: ImageSpec, stop: bool
) -> None:
    """Write the files of a pack. Raises as `pack` does."""
    stats = PackStats(list(listing.refused))
    if stop and stats.refused:
        raise ValueError(stop_message(listing.root, stats.refused[0]))
    write_pixels(folder / PIXELS, listing, chosen, spec, stop, stats)
    if not stats.packed:
        why = f"; {stats.refused[0]} was the first of {len(stats.refused):,}" if stats.refused else ""
        raise ValueError(f"no image in {printable(str(listing.root))} could be read{why}")
    np.save(folder / LABELS, listing.labels[np.asarray(stats.packed)])
    (folder / UNREAD).write_text(json.dumps([each.name for each in stats.refused]), encoding="utf-8")
    (folder / PAGES).write_text(json.dumps(stats.pages), encoding="utf-8")
    lines = [f"cannot be read: {each}" for each in stats.refused]
    lines += [f"only its first page is read: {printable(name)}" for name in stats.with_more_pages]
    (folder / REPORT).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    statistics, hashes = statistics_and_hashes(file_chunks(folder / PIXELS, spec.shape))
    np.save(folder / HASHES, hashes)
    about = {
        "count": len(stats.packed),
        "shape": spec.shape,
        "highest": [[*value_range, value] for value_range, value in sorted(stats.highest.items())],
        "refused": len(stats.refused),
        "examples": list(map(str, stats.refused[:EXAMPLES])),
        "notes": stats.notes(),
        "left_out": [asdict(each) for each in left_out_by_reason(stats.refused)],
        "statistics": asdict(statistics),
        "written": (folder / PIXELS).stat().st_mtime_ns,
    }
    about[CHECKSUM_FIELD] = pack_checksum(folder, json.dumps(about, sort_keys=True))
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def write_pixels(
    path: Path, listing: ImageListing, chosen: Bool[np.ndarray, " n"], spec: ImageSpec, stop: bool, stats: PackStats
) -> None:
    """Write the pixels of the chosen images one after another, and record in `stats` which could be read."""
    total = int(chosen.sum())
    with path.open("xb") as file, closing(read_all(listing.loads(chosen), spec, listing.block_size)) as decoded:
        pairs = zip(map(int, np.flatnonzero(chosen)), decoded, strict=True)
        for index, image in progress(pairs, f"reading images of {listing.root}", total):
            name = str(listing.names[index])
            if isinstance(image, DecodedImage):
                for page in pages_of(image):
                    file.write(page.pixels.contiguous().numpy().data)
                stats.add(index, name, image)
            elif stop:
                raise ValueError(stop_message(listing.root, UnreadableImage(name, image)))
            else:
                stats.refused.append(UnreadableImage(name, image))
        file.flush()
        os.fsync(file.fileno())


def highest_value(listing: ImageListing, spec: ImageSpec) -> float:
    """The largest value of all images of more than 8 bits. Raises ValueError if there is none above 0."""
    raw = replace(spec, height=2, width=2, fit="stretch", value_range=ValueRange(0, 1))
    loads, total = listing.loads(np.ones(len(listing.names), bool)), len(listing.names)
    with warnings.catch_warnings(), closing(read_all(loads, raw, listing.block_size)) as decoded:
        warnings.simplefilter("ignore")
        images = progress(decoded, f"looking for the largest value in {listing.root}", total)
        pages = (page for image in images if isinstance(image, DecodedImage) for page in pages_of(image))
        found = [page.highest for page in pages if page.value_range is not None]
    if max(found, default=0) <= 0:
        raise ValueError(f"{printable(str(listing.root))}: white auto finds no value above 0 of more than 8 bits")
    return max(found)


def stop_message(root: Path, first: object) -> str:
    """The error message for the first unreadable image, which stops the command."""
    return f"{printable(str(root))}: {first}; --data.on-error skip leaves out what cannot be read"


def read_all(loads: Iterator[Load], spec: ImageSpec, block_size: int) -> Generator[DecodedImage | str, None, None]:
    """Every image in order, decoded by threads; for an unreadable image the reason, as text."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = min(MAX_THREADS, cpus)
    pending: deque[Future[list[DecodedImage | str]]] = deque()
    executor = ThreadPoolExecutor(threads)
    block_size = 1 if spec.pages == "all" else block_size  # a file may have thousands of them
    try:
        while block := list(islice(loads, block_size)):
            pending.append(executor.submit(_read_block, block, spec))
            if len(pending) > 2 * threads:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _read_block(block: list[Load], spec: ImageSpec) -> list[DecodedImage | str]:
    images: list[DecodedImage | str] = []
    for load in block:
        try:
            images.append(load(spec))
        except ValueError as error:
            images.append(str(error))
    return images
