"""Where images of one's own are: a folder or a zip of files, and what is in it before any of them is decoded.

A file is an image if its name ends like one or its first bytes are those of one; what it is, its bytes decide. Links
are followed, each folder is entered once. Nothing is unpacked: of a zip, one file at a time is in memory.
"""

import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import compress
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from limpid.data.fingerprint import Fingerprint, fingerprint_of_files
from limpid.data.readers.decode import Channels, DecodedImage, ImageSpec, decode
from limpid.data.readers.messages import one_line
from limpid.runtime.terminal import printable

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
)
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
MAX_FILE_BYTES = 2**28
"""Bytes that the file of an image may have."""
LONGEST_PATH, LONGEST_NAME = 4096, 255
"""Bytes that the name of a file may have, with the folders before it and without them."""
MODE_BY_CHANNELS: dict[int, Channels] = {1: "L", 3: "RGB", 4: "RGBA"}
"""What Pillow calls images of so many channels."""
PACKING = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How files in a zip may be packed; the others cannot be read by a bounded piece at a time."""

Load: TypeAlias = Callable[[ImageSpec], DecodedImage]
"""Reads one image. Raises ValueError, in one line, if that cannot be."""


class UnreadableImage(NamedTuple):
    """An image that could not be read."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{printable(self.name)}: {self.why}"


@dataclass(frozen=True, eq=False)
class ImageListing:
    """Images that are somewhere, in the order of their names."""

    root: Path
    names: Sequence[str] | range
    """What each is called there; only these decide which are held out."""
    labels: Int[np.ndarray, " n"]
    classes: tuple[str, ...]
    """What the labels mean; empty where the images have no classes, and the labels are then 0."""
    fingerprint: str
    """Changes whenever the images do, as far as sizes and times of files tell."""
    loads: Callable[[Bool[np.ndarray, " n"]], Iterator[Load]]
    """What reads those images that are chosen."""
    refused: tuple[UnreadableImage, ...] = ()
    """What is named like an image but is no file that could be read."""
    others: int = 0
    """Files that are no images."""
    content: Fingerprint = Fingerprint()
    """What identifies the images also where they are moved to."""
    block_size: int = 64
    """How many images are handed to a thread at a time."""


class Found(NamedTuple):
    """A file that may be an image: its name below the root, its size and the time of its last change."""

    name: str
    size: int
    time: int


def scan_folder(root: Path) -> ImageListing:
    """The images of a folder and of all below it. Raises ValueError if it cannot be listed."""
    found, refused, others = [], [], 0
    for each in walk(root):
        if isinstance(each, UnreadableImage):
            refused.append(each)
        elif each.name.lower().endswith(SUFFIXES) or _signed_file(root, each.name):
            found.append(each)
        else:
            others += 1
    found.sort(key=lambda each: os.fsencode(each.name))
    names = [each.name for each in found]
    digest = hashlib.sha256()
    for name, size, time in found:
        digest.update(b"%s\0%d\0%d\0" % (os.fsencode(name), size, time))

    def loads(chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
        return (partial(read_file, root / name) for name in compress(names, chosen))

    content = fingerprint_of_files((os.fsencode(each.name), each.size) for each in found)
    return ImageListing(
        root, names, *classes_of(names), digest.hexdigest(), loads, tuple(sorted(refused)), others, content
    )


def walk(root: Path) -> Iterator[Found | UnreadableImage]:
    """Every visible file below `root`, and whatever is in the way, by its name with "/". Each folder is entered once.

    Folders come before links to folders, so that an image is found where it is. Raises ValueError if `root` is closed.
    """
    entered: set[tuple[int, int]] = set()
    folders, links = [""], list[str]()
    while folders or links:
        here = folders.pop() if folders else heappop(links)
        try:
            about = os.stat(root / here)
            if (about.st_dev, about.st_ino) in entered:
                continue
            entered.add((about.st_dev, about.st_ino))
            with os.scandir(root / here) as entries:
                for entry in entries:
                    if _hidden(entry.name):
                        continue
                    name = f"{here}/{entry.name}" if here else entry.name
                    found = _classify_entry(entry, name)
                    if found is None and entry.is_symlink():
                        heappush(links, name)
                    elif found is None:
                        folders.append(name)
                    else:
                        yield found
        except OSError as error:
            if not here:
                raise ValueError(f"cannot read {printable(str(root))}: {error.strerror}") from error
            yield UnreadableImage(f"{here}/", error.strerror or one_line(error))


def _classify_entry(entry: os.DirEntry[str], name: str) -> Found | UnreadableImage | None:
    """A file, or why it is none; None for a folder."""
    try:
        about = entry.stat()
    except OSError as error:
        return UnreadableImage(name, error.strerror or one_line(error))
    if stat.S_ISDIR(about.st_mode):
        return None
    if not stat.S_ISREG(about.st_mode):
        return UnreadableImage(name, "it is a device or a pipe")
    # A change of permissions, which the first of these times does not tell, may make it readable.
    return Found(name, about.st_size, max(about.st_mtime_ns, about.st_ctime_ns))


def scan_zip(path: Path) -> ImageListing:
    """The images of a zip. Raises ValueError if it is none that can be read."""
    found, refused, others = [], [], 0
    try:
        packed = zipfile.ZipFile(path)  # closed when the last image that reads from it is gone
        for info in packed.infolist():
            if too_long(info.filename):
                raise ValueError(f"a name in it, {info.filename[:60]!r}, is longer than a file's can be")
            parts = info.filename.split("/")
            if ".." in parts or info.filename.startswith(("/", "\\")):
                refused.append(UnreadableImage(info.filename, "its name leads out of the zip"))
            elif info.is_dir() or any(map(_hidden, parts)):
                continue
            elif info.filename.lower().endswith(SUFFIXES) or _signed_member(packed, info):
                found.append(info)
            else:
                others += 1
        about = path.stat()
    except Exception as error:  # zipfile answers broken archives with many exceptions
        raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error
    found.sort(key=lambda info: bytes_of(info.filename))
    names = [info.filename for info in found]

    def loads(chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
        return (partial(_from_member, packed, info) for info in compress(found, chosen))

    stamp = f"{about.st_size} {about.st_mtime_ns}"
    content = fingerprint_of_files((bytes_of(info.filename), info.file_size) for info in found)
    return ImageListing(path, names, *classes_of(names), stamp, loads, tuple(sorted(refused)), others, content)


def read_file(path: Path, frame: ImageSpec) -> DecodedImage:
    """The image in a file. Raises ValueError, in one line that does not name it, if it cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder, a device or a pipe")  # a pipe would be waited for without end
        with path.open("rb") as file:
            blob = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(error.strerror or one_line(error)) from error
    return decode(_bounded(blob), frame)


def read_image(path: Path | str, shape: tuple[int, int, int]) -> UInt8[Tensor, "c h w"]:
    """The image in a file, cut at its longer sides and resized to `shape`. Raises ValueError if it cannot be read."""
    channels, height, width = shape
    if channels not in MODE_BY_CHANNELS:
        raise ValueError(f"a file cannot be read as an image of {channels} channels: expected 1, 3 or 4")
    try:
        return read_file(Path(path), ImageSpec(height, width, MODE_BY_CHANNELS[channels])).pixels
    except ValueError as error:
        raise ValueError(f"cannot read the image {printable(str(path))}: {error}") from error


def classes_of(names: Sequence[str]) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Labels and the names of the classes: the folders that the images are in, if every image is in one.

    They are in the order of their names, or of their values if all of them are whole numbers. A folder that holds
    everything is no class: as in a zip of one folder, the classes are then those in it.
    """
    parts = [name.split("/") for name in names]
    depth = 0
    while parts and all(len(p) > depth + 1 and p[depth] == parts[0][depth] for p in parts):
        depth += 1
    none = np.zeros(len(names), np.int64)
    if not parts or any(len(p) <= depth + 1 for p in parts):
        return none, ()
    found = sorted({p[depth] for p in parts}, key=bytes_of)
    if whole_numbers(found):
        found.sort(key=int)
    number = {name: i for i, name in enumerate(found)}
    return np.array([number[p[depth]] for p in parts], np.int64), tuple(map(printable, found))


def too_long(name: str) -> bool:
    """Whether no file of Linux could have this name: a zip may hold names that take all memory as classes."""
    encoded = bytes_of(name)
    return len(encoded) > LONGEST_PATH or max(map(len, encoded.split(b"/"))) > LONGEST_NAME


def whole_numbers(names: Iterable[str]) -> bool:
    """Whether all of these are whole numbers, of at most 18 digits."""
    return all(re.fullmatch("-?[0-9]{1,18}", name) for name in names)


def bytes_of(name: str) -> bytes:
    """The bytes of a name, whatever encoding it is in."""
    return name.encode("utf-8", "surrogatepass")


def _hidden(name: str) -> bool:
    """Whether it is what systems leave beside images, unseen."""
    return (name.startswith(".") and name != ".") or name == "__MACOSX"


def _signed(head: bytes) -> bool:
    """Whether a file begins as an image does."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(SIGNATURES) or webp or head[4:12] in (b"ftypavif", b"ftypavis")


def _signed_file(root: Path, name: str) -> bool:
    try:
        with (root / name).open("rb") as file:
            return _signed(file.read(12))
    except OSError:
        return False


def _signed_member(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    try:
        with packed.open(info) as file:
            return info.compress_type in PACKING and _signed(file.read(12))
    except Exception:  # what cannot be read is not known to be an image
        return False


def _from_member(packed: zipfile.ZipFile, info: zipfile.ZipInfo, frame: ImageSpec) -> DecodedImage:
    if info.compress_type not in PACKING:
        raise ValueError("it is packed by another method than zip's usual, deflate")
    try:
        with packed.open(info) as file:
            blob = file.read(MAX_FILE_BYTES + 1)
    except Exception as error:  # zipfile answers broken archives with many exceptions
        raise ValueError(one_line(error)) from error
    return decode(_bounded(blob), frame)


def _bounded(blob: bytes) -> bytes:
    if len(blob) > MAX_FILE_BYTES:
        raise ValueError(f"it is longer than {MAX_FILE_BYTES:,} bytes")
    return blob
