"""Images in a folder, listed before any of them is decoded; and one image from one file.

Links are followed; each folder is entered once.
"""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from functools import partial
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from limpid.data.readers.decode import decode
from limpid.data.readers.file_kinds import SIGNATURE_BYTES, unread_kind
from limpid.data.readers.file_listing import FileStore, FoundFile, listing_of_files
from limpid.data.readers.fit import Channels, DecodedImage, ImageSpec, fit_array
from limpid.data.readers.listing import ImageListing, Load, UnreadableImage
from limpid.data.readers.messages import one_line
from limpid.runtime.progress_line import progress
from limpid.runtime.terminal import printable

MAX_FILE_BYTES = 2**28
"""Limit of the size of an image's file, in bytes."""
ENCODING, ENCODING_ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
MODE_BY_CHANNELS: dict[int, Channels] = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for each number of channels."""


def scan_folder(root: Path, labels: str = "") -> ImageListing:
    """The images of a folder and of all folders below it, with the classes that `labels` chooses.

    Raises ValueError if the folder cannot be listed, or as `assign` does.
    """

    folder = os.path.join(root, "")  # names are joined to it as text, in half the time of a Path

    def read(file: FoundFile, size: int) -> bytes:
        with (root / file.name).open("rb") as opened:
            return opened.read(size)

    def load(file: FoundFile) -> Load:
        return partial(read_file, f"{folder}{file.name}")

    def find(name: str) -> FoundFile | None:
        return FoundFile(name, 0) if (root / name).is_file() else None

    store = FileStore(root, read, load, find, encode_name)
    return listing_of_files(store, progress(walk(root), f"looking for images in {root}, files"), labels, _stamp)


def _stamp(found: list[FoundFile]) -> str:
    """A hash of the names, sizes and times of files."""
    digest = hashlib.sha256()
    for file in found:
        digest.update(b"%s\0%d\0%d\0" % (encode_name(file.name), file.size, file.time))
    return digest.hexdigest()


def encode_name(name: str) -> bytes:
    """What `os.fsencode` returns for text, in a third of its time."""
    return name.encode(ENCODING, ENCODING_ERRORS)


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


def read_file(path: Path | str, spec: ImageSpec) -> DecodedImage:
    """The image in a file. Raises ValueError, in one line that does not name the file, if it cannot be read."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is a folder, a device or a pipe")  # reading a pipe could wait forever
        with open(path, "rb") as file:
            blob = file.read(min(status.st_size, MAX_FILE_BYTES) + 1)  # memory for so many bytes is allocated
    except OSError as error:
        raise ValueError(error.strerror or one_line(error)) from error
    return decode_bounded(blob, spec)


def read_image(path: Path | str, shape: tuple[int, int, int]) -> UInt8[Tensor, "c h w"]:
    """The image in a file, cropped in the middle to the aspect ratio of `shape` and resized to it.

    Raises ValueError if it cannot be read.
    """
    spec = spec_of_shape(shape)
    try:
        if Path(path).suffix.lower() == ".npy":
            return fit_array(np.load(path, allow_pickle=False), spec).pixels
        return read_file(Path(path), spec).pixels
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the image {printable(str(path))}: {one_line(error)}") from error


def image_from_bytes(blob: bytes, shape: tuple[int, int, int]) -> UInt8[Tensor, "c h w"]:
    """The image in the bytes of a file, fitted to `shape` as `read_image` does. Raises ValueError if it cannot be."""
    return decode_bounded(blob, spec_of_shape(shape)).pixels


def spec_of_shape(shape: tuple[int, int, int]) -> ImageSpec:
    """How an image is converted to channels x height x width."""
    channels, height, width = shape
    return ImageSpec(height, width, MODE_BY_CHANNELS.get(channels, channels))


def decode_bounded(blob: bytes, spec: ImageSpec) -> DecodedImage:
    """The image in the bytes of a file. Raises ValueError if they are too many, or cannot be decoded."""
    if len(blob) > MAX_FILE_BYTES:
        raise ValueError(f"it is longer than {MAX_FILE_BYTES:,} bytes")
    if (kind := unread_kind(blob[:SIGNATURE_BYTES])) is not None:
        raise ValueError(str(kind))
    return decode(blob, spec)


def is_hidden(name: str) -> bool:
    """Whether this is the name of a hidden file or folder, as operating systems leave them beside images."""
    return (name.startswith(".") and name != ".") or name == "__MACOSX"
