"""Images in a folder, listed before any of them is decoded; and one image from one file.

A file is taken for an image if its name ends like one or its first bytes are those of one; its bytes decide its format.
Links are followed; each folder is entered once.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from functools import partial
from heapq import heappop, heappush
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from torch import Tensor

from limpid.data.fingerprint import fingerprint_of_files
from limpid.data.readers.decode import decode
from limpid.data.readers.fit import Channels, DecodedImage, ImageSpec
from limpid.data.readers.labels import classes_of
from limpid.data.readers.listing import ImageListing, LeftOutCounter, Load, UnreadableImage
from limpid.data.readers.messages import one_line
from limpid.runtime.progress_line import progress
from limpid.runtime.terminal import printable

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
MAX_FILE_BYTES = 2**28
"""Limit of the size of an image's file, in bytes."""
MODE_BY_CHANNELS: dict[int, Channels] = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for each number of channels."""


class FoundFile(NamedTuple):
    """A file that may be an image: its name below the root, its size and the time of its last change."""

    name: str
    size: int
    time: int


def scan_folder(root: Path) -> ImageListing:
    """The images of a folder and of all folders below it. Raises ValueError if the folder cannot be listed."""
    found, refused, left_out = [], [], LeftOutCounter()
    for each in progress(walk(root), f"looking for images in {root}, files"):
        if isinstance(each, UnreadableImage):
            refused.append(each)
        elif each.name.lower().endswith(SUFFIXES) or _is_image(root, each.name):
            found.append(each)
        else:
            left_out.add("other files", each.name)
    found.sort(key=lambda each: os.fsencode(each.name))
    names = [each.name for each in found]
    digest = hashlib.sha256()
    for name, size, time in found:
        digest.update(b"%s\0%d\0%d\0" % (os.fsencode(name), size, time))

    def loads(chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
        return (partial(read_file, root / name) for name in compress(names, chosen))

    content = fingerprint_of_files((os.fsencode(each.name), each.size) for each in found)
    return ImageListing(
        root,
        names,
        *classes_of(names),
        digest.hexdigest(),
        loads,
        tuple(sorted(refused)),
        left_out.records(),
        content=content,
    )


def walk(root: Path) -> Iterator[FoundFile | UnreadableImage]:
    """Every visible file below `root`, and what cannot be opened, named with "/". Each folder is entered once.

    Folders come before links to folders, so that an image is listed under its own folder. Raises ValueError if `root`
    cannot be opened.
    """
    entered: set[tuple[int, int]] = set()
    folders, links = [""], list[str]()
    while folders or links:
        folder = folders.pop() if folders else heappop(links)
        try:
            status = os.stat(root / folder)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    found = _classify_entry(entry, name)
                    if found is None and entry.is_symlink():
                        heappush(links, name)
                    elif found is None:
                        folders.append(name)
                    else:
                        yield found
        except OSError as error:
            if not folder:
                raise ValueError(f"cannot read {printable(str(root))}: {error.strerror}") from error
            yield UnreadableImage(f"{folder}/", error.strerror or one_line(error))


def _classify_entry(entry: os.DirEntry[str], name: str) -> FoundFile | UnreadableImage | None:
    """A file, or why it cannot be one; None for a folder."""
    try:
        status = entry.stat()
    except OSError as error:
        return UnreadableImage(name, error.strerror or one_line(error))
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):
        return UnreadableImage(name, "it is a device or a pipe")
    # A change of permissions, which may make a file readable, changes only the second of these times.
    return FoundFile(name, status.st_size, max(status.st_mtime_ns, status.st_ctime_ns))


def read_file(path: Path, spec: ImageSpec) -> DecodedImage:
    """The image in a file. Raises ValueError, in one line that does not name the file, if it cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder, a device or a pipe")  # reading a pipe could wait forever
        with path.open("rb") as file:
            blob = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(error.strerror or one_line(error)) from error
    return decode_bounded(blob, spec)


def read_image(path: Path | str, shape: tuple[int, int, int]) -> UInt8[Tensor, "c h w"]:
    """The image in a file, cropped in the middle to the aspect ratio of `shape` and resized to it.

    Raises ValueError if it cannot be read.
    """
    channels, height, width = shape
    if channels not in MODE_BY_CHANNELS:
        raise ValueError(f"a file cannot be read as an image of {channels} channels: expected 1, 3 or 4")
    try:
        return read_file(Path(path), ImageSpec(height, width, MODE_BY_CHANNELS[channels])).pixels
    except ValueError as error:
        raise ValueError(f"cannot read the image {printable(str(path))}: {error}") from error


def decode_bounded(blob: bytes, spec: ImageSpec) -> DecodedImage:
    """The image in the bytes of a file. Raises ValueError if they are too many, or cannot be decoded."""
    if len(blob) > MAX_FILE_BYTES:
        raise ValueError(f"it is longer than {MAX_FILE_BYTES:,} bytes")
    return decode(blob, spec)


def is_hidden(name: str) -> bool:
    """Whether this is the name of a hidden file or folder, as operating systems leave them beside images."""
    return (name.startswith(".") and name != ".") or name == "__MACOSX"


def has_signature(head: bytes) -> bool:
    """Whether the first 12 bytes of a file are those of an image."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(SIGNATURES) or webp or head[4:12] in (b"ftypavif", b"ftypavis")


def _is_image(root: Path, name: str) -> bool:
    try:
        with (root / name).open("rb") as file:
            return has_signature(file.read(12))
    except OSError:
        return False
