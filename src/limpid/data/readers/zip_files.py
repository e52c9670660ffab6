"""Images in a zip, listed before any of them is decoded. Nothing is unpacked: memory holds one file at a time."""

import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import compress
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from limpid.data.fingerprint import fingerprint_of_files
from limpid.data.readers.fit import DecodedImage, ImageSpec
from limpid.data.readers.labels import bytes_of, classes_of
from limpid.data.readers.listing import ImageListing, LeftOutCounter, Load, UnreadableImage
from limpid.data.readers.messages import one_line
from limpid.data.readers.scan import MAX_FILE_BYTES, SUFFIXES, decode_bounded, has_signature, is_hidden
from limpid.runtime.progress_line import progress
from limpid.runtime.terminal import printable

LONGEST_PATH, LONGEST_NAME = 4096, 255
"""Limits in bytes of a file's path and of its name."""
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods that are read; the others cannot be decompressed in pieces of bounded size."""


def scan_zip(path: Path) -> ImageListing:
    """The images of a zip. Raises ValueError if it cannot be read as one."""
    found, refused, left_out = [], [], LeftOutCounter()
    try:
        archive = zipfile.ZipFile(path)  # closed when the last image that reads from it is gone
        entries = archive.infolist()
        for info in progress(entries, f"looking for images in {path}", len(entries)):
            if too_long(info.filename):
                raise ValueError(f"a name in it, {info.filename[:60]!r}, is longer than a file's can be")
            parts = info.filename.split("/")
            if ".." in parts or info.filename.startswith(("/", "\\")):
                refused.append(UnreadableImage(info.filename, "its name leads out of the zip"))
            elif info.is_dir() or any(map(is_hidden, parts)):
                continue
            elif info.filename.lower().endswith(SUFFIXES) or _is_image(archive, info):
                found.append(info)
            else:
                left_out.add("other files", info.filename)
        stat = path.stat()
    except Exception as error:  # zipfile raises many exceptions for broken archives
        raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error
    found.sort(key=lambda info: bytes_of(info.filename))
    names = [info.filename for info in found]

    def loads(chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
        return (partial(_read_entry, archive, info) for info in compress(found, chosen))

    stamp = f"{stat.st_size} {stat.st_mtime_ns}"
    content = fingerprint_of_files((bytes_of(info.filename), info.file_size) for info in found)
    return ImageListing(
        path,
        names,
        *classes_of(names),
        stamp,
        loads,
        tuple(sorted(refused)),
        left_out.records(),
        content=content,
    )


def too_long(name: str) -> bool:
    """Whether no file of Linux could have this name: as names of classes, such names could fill all memory."""
    encoded = bytes_of(name)
    return len(encoded) > LONGEST_PATH or max(map(len, encoded.split(b"/"))) > LONGEST_NAME


def _is_image(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    """Whether the first bytes of a file are those of an image; False for a file that cannot be read."""
    try:
        with archive.open(info) as file:
            return info.compress_type in ZIP_METHODS and has_signature(file.read(12))
    except Exception:
        return False


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, spec: ImageSpec) -> DecodedImage:
    if info.compress_type not in ZIP_METHODS:
        raise ValueError("it is packed by another method than zip's usual, deflate")
    try:
        with archive.open(info) as file:
            blob = file.read(MAX_FILE_BYTES + 1)
    except Exception as error:  # zipfile raises many exceptions for broken archives
        raise ValueError(one_line(error)) from error
    return decode_bounded(blob, spec)
