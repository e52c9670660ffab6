"""Images in tars, and in folders of them: class folders, or webdataset's shards of KEY.png beside KEY.cls or .json.

A tar is read in place: its headers once, then each file by its offset. A .tar.gz is first decompressed to a temporary
file without a name, which is gone when the set is closed.
"""

import gzip
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, NamedTuple

import numpy as np

from limpid.data.readers import scan
from limpid.data.readers.file_kinds import SUFFIXES
from limpid.data.readers.file_listing import FileStore, FoundFile, listing_of_files
from limpid.data.readers.fit import DecodedImage, ImageSpec
from limpid.data.readers.label_values import classes_from_values
from limpid.data.readers.labels import whole_numbers
from limpid.data.readers.listing import ImageListing, Load, UnreadableImage
from limpid.data.readers.messages import one_line
from limpid.data.readers.npy import stamp_of
from limpid.data.readers.row_names import split_from_name
from limpid.data.readers.scan import decode_bounded, is_hidden
from limpid.data.readers.zip_files import too_long
from limpid.runtime.progress_line import progress
from limpid.runtime.terminal import printable

GZIP_SIGNATURE = b"\x1f\x8b"
TAR_NAMES = re.compile(r".*\.(tar|tar\.gz|tgz)", re.IGNORECASE)
LABEL_SUFFIXES = (".cls", ".json")
LABEL_KEYS = ("label", "cls", "class", "class_name")
"""The keys of a label in webdataset's .json."""
MAX_LABEL_FILE = 2**20
DECOMPRESSED_AT_ONCE = 2**20


class Unpacked:
    """The content of a .tar.gz in a file without a name, which is closed when nobody reads it any more."""

    def __init__(self) -> None:
        self.file: IO[bytes] = TemporaryFile()  # noqa: SIM115

    def __del__(self) -> None:
        self.file.close()


class Shard(NamedTuple):
    """A tar: its path, what stands before the names of its files, and its content where that had to be decompressed."""

    path: Path
    prefix: str
    unpacked: Unpacked | None

    def read(self, offset: int, size: int) -> bytes:
        """At most so many bytes from an offset."""
        if self.unpacked:
            return os.pread(self.unpacked.file.fileno(), size, offset)
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


class Member(NamedTuple):
    """Where a file is in the tars."""

    shard: Shard
    offset: int
    size: int

    def read(self, size: int) -> bytes:
        """At most so many bytes of it, from its beginning."""
        return self.shard.read(self.offset, min(size, self.size))


def is_tar(path: Path, head: bytes) -> bool:
    """Whether a file with these first bytes is a tar, or one that is packed by gzip."""
    try:
        if head.startswith(GZIP_SIGNATURE):
            with gzip.open(path) as file:
                head = file.read(512)
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except Exception:  # it is another file, or a broken one
        return False
    return True


def scan_tar(path: Path, labels: str = "") -> ImageListing:
    """The images of a tar. Raises ValueError if it cannot be read."""
    return _scan(path, [(path, "")], labels)


def scan_tars(root: Path, names: list[str], labels: str = "") -> ImageListing:
    """The images of the tars of a folder: of numbered shards, whose names may be splits, or of a tar for each class."""
    return _scan(root, [(root / name, _prefix(name)) for name in sorted(names)], labels)


def _prefix(name: str) -> str:
    """What stands before the names of a tar's files: its split, or its own name without the number of a shard."""
    stem = re.sub(r"\.(tar|tar\.gz|tgz)$", "", name, flags=re.IGNORECASE)
    number = re.fullmatch(r"(.*?)(?:^|(?<=/)|[-_.])\d+", stem)
    return split_from_name(name) or (number[1] if number else stem)


def _scan(root: Path, paths: list[tuple[Path, str]], labels: str) -> ImageListing:
    members: dict[str, Member] = {}
    refused: list[UnreadableImage] = []
    for path, prefix in paths:
        try:
            shard = Shard(path, prefix, _decompressed(path))
            for found in progress(_members(shard), f"looking for images in {path}"):
                if isinstance(found, UnreadableImage):
                    refused.append(found)
                else:
                    members[_free_name(found[0], members, path)] = found[1]
        except Exception as error:  # tarfile and gzip raise many exceptions for broken archives
            raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error
    given = _given_labels(root, members) if labels == "" else {}
    files = [FoundFile(name, member.size) for name, member in members.items() if not (given and _is_label(name))]

    def read(file: FoundFile, size: int) -> bytes:
        return members[file.name].read(size)

    def load(file: FoundFile) -> Load:
        return partial(_load, members[file.name])

    def find(name: str) -> FoundFile | None:
        return FoundFile(name, members[name].size) if name in members else None

    stamp = stamp_of(*(path for path, _ in paths))
    store = FileStore(root, read, load, find)
    listing = listing_of_files(store, [*files, *refused], "none" if given else labels, lambda _: stamp)
    return _with_labels(listing, given) if given else listing


def _members(shard: Shard) -> Iterator[tuple[str, Member] | UnreadableImage]:
    """The visible files of a tar. Raises ValueError for a name that no file could have, and for a tar in a circle."""
    last = -1
    with nullcontext(shard.unpacked.file) if shard.unpacked else shard.path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # else it remembers all of them
                if info.offset_data <= last or info.size < 0:
                    raise ValueError("its headers lead in a circle")
                last = info.offset_data
                if too_long(info.name):
                    raise ValueError(f"a name in it, {info.name[:60]!r}, is longer than a file's can be")
                parts = [part for part in info.name.split("/") if part not in ("", ".")]
                name = "/".join([shard.prefix, *parts] if shard.prefix else parts)
                if ".." in parts:
                    yield UnreadableImage(info.name, "its name leads out of the tar")
                elif not info.isreg() or info.issparse() or not parts or any(map(is_hidden, parts)):
                    continue
                elif info.offset_data + info.size > size:
                    yield UnreadableImage(name, "the tar ends before it")
                else:
                    yield name, Member(shard, info.offset_data, info.size)


def _free_name(name: str, taken: dict[str, Member], path: Path) -> str:
    """The name, or with the name of its shard in front where another shard has the same."""
    folder, slash, file = name.rpartition("/")
    if name in taken and taken[name].shard.path != path:
        return f"{folder}{slash}{path.stem}-{file}"
    return name


def _decompressed(path: Path) -> Unpacked | None:
    """The content of a .tar.gz in a file without a name; None for a tar. Raises OSError if the disk has no room."""
    with path.open("rb") as file:
        if not file.read(2).startswith(GZIP_SIGNATURE):
            return None
    unpacked = Unpacked()
    room = shutil.disk_usage(gettempdir()).free // 2
    with gzip.open(path) as packed:
        while chunk := packed.read(DECOMPRESSED_AT_ONCE):
            room -= unpacked.file.write(chunk)
            if room < 0:
                raise OSError("there is no room to decompress it: TMPDIR names another folder for temporary files")
    unpacked.file.flush()
    return unpacked


def _given_labels(root: Path, members: dict[str, Member]) -> dict[str, str]:
    """The label of each key of webdataset's shards, from its .cls or .json; empty where no file has one."""
    keys = {_key(name) for name in members if name.lower().endswith(SUFFIXES)}
    found: dict[str, str] = {}
    for suffix in reversed(LABEL_SUFFIXES):  # .cls before .json
        for name, member in members.items():
            if name.endswith(suffix) and _key(name) in keys:
                try:
                    value = _label_from(member.read(MAX_LABEL_FILE), suffix)
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"{printable(str(root))}: {printable(name)}: {one_line(error)}") from error
                found |= {_key(name): value} if value is not None else {}
    return found


def _label_from(blob: bytes, suffix: str) -> str | None:
    """The label in a .cls, or in a .json that has one."""
    text = blob.decode("utf-8").strip()
    if suffix == ".cls":
        return text
    content = json.loads(text)
    values = [content[key] for key in LABEL_KEYS if key in content] if isinstance(content, dict) else []
    return str(values[0]) if values and isinstance(values[0], str | int) else None


def _with_labels(listing: ImageListing, given: dict[str, str]) -> ImageListing:
    """The listing with the labels of its keys. Raises ValueError for an image without one."""
    missing = next((name for name in listing.names if _key(str(name)) not in given), None)
    if missing is not None:
        raise ValueError(f"{printable(str(listing.root))}: {printable(str(missing))} has no label in a .cls or .json")
    values = [given[_key(str(name))] for name in listing.names]
    labels, classes = classes_from_values(np.array(values, np.int64 if whole_numbers(values) else np.str_))
    return replace(listing, labels=labels, classes=classes, notes=("labels from .cls and .json", *listing.notes))


def _key(name: str) -> str:
    """The name up to the first dot of the file's own name: what the files of one sample have in common."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _is_label(name: str) -> bool:
    return name.endswith(LABEL_SUFFIXES)


def _load(member: Member, spec: ImageSpec) -> DecodedImage:
    try:
        blob = member.read(scan.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ValueError(one_line(error)) from error
    return decode_bounded(blob, spec)
