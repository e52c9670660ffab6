"""Images in a zip, listed before any of them is decoded. Nothing is unpacked: memory holds one file at a time."""

import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from limpid.data.readers import scan
from limpid.data.readers.file_listing import FileStore, FoundFile, listing_of_files
from limpid.data.readers.fit import DecodedImage, ImageSpec
from limpid.data.readers.labels import bytes_of
from limpid.data.readers.listing import ImageListing, Load, UnreadableImage
from limpid.data.readers.messages import one_line
from limpid.data.readers.scan import decode_bounded, is_hidden
from limpid.runtime.progress_line import progress
from limpid.runtime.terminal import printable

LONGEST_PATH, LONGEST_NAME = 4096, 255
"""Limits in bytes of a file's path and of its name."""
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods that are read; the others cannot be decompressed in pieces of bounded size."""


def scan_zip(path: Path, labels: str = "") -> ImageListing:
    """The images of a zip, with the classes that `labels` chooses.

    Raises ValueError if it cannot be read as one, or as `assign` does.
    """
    try:
        archive = zipfile.ZipFile(path)  # closed when the last image that reads from it is gone
        entries = archive.infolist()
        files = list(_files(progress(entries, f"looking for images in {path}", len(entries))))
        about = path.stat()
    except Exception as error:  # zipfile raises many exceptions for broken archives
        raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error
    by_name = {file.name: file for file in files if isinstance(file, FoundFile)} if labels else {}

    def read(file: FoundFile, size: int) -> bytes:
        return read_entry(archive, file, size)

    def load(file: FoundFile) -> Load:
        return partial(_load_entry, archive, file)

    stamp = f"{about.st_size} {about.st_mtime_ns}"
    return listing_of_files(FileStore(path, read, load, by_name.get), files, labels, lambda _: stamp)


def _files(entries: Iterable[zipfile.ZipInfo]) -> Iterator[FoundFile | UnreadableImage]:
    """The files of a zip. Raises ValueError for a name that no file could have."""
    for info in entries:
        name = info.filename.replace("\\", "/")  # as some programs of Windows write it
        if too_long(name):
            raise ValueError(f"a name in it, {name[:60]!r}, is longer than a file's can be")
        parts = name.split("/")
        if ".." in parts or name.startswith("/"):
            yield UnreadableImage(info.filename, "its name leads out of the zip")
        elif not name.endswith("/") and not any(map(is_hidden, parts)):
            yield FoundFile(name, info.file_size, entry=info)


def too_long(name: str) -> bool:
    """Whether no file of Linux could have this name: as names of classes, such names could fill all memory."""
    encoded = bytes_of(name)
    return len(encoded) > LONGEST_PATH or max(map(len, encoded.split(b"/"))) > LONGEST_NAME


def read_entry(archive: zipfile.ZipFile, file: FoundFile, size: int) -> bytes:
    """At most so many bytes of a file in a zip. Raises ValueError, in one line, if it cannot be read."""
    assert file.entry is not None
    if file.entry.compress_type not in ZIP_METHODS:
        raise ValueError("it is packed by another method than zip's usual, deflate")
    try:
        with archive.open(file.entry) as opened:
            return opened.read(size)
    except Exception as error:  # zipfile raises many exceptions for broken archives
        raise ValueError(one_line(error)) from error


def _load_entry(archive: zipfile.ZipFile, file: FoundFile, spec: ImageSpec) -> DecodedImage:
    return decode_bounded(read_entry(archive, file, scan.MAX_FILE_BYTES + 1), spec)
