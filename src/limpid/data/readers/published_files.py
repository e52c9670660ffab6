"""The files of a set as its authors publish it, read from a folder or from its .tar.gz, up to a stated length.

Nothing is unpacked to disk, and an archive is read no further than to the last of the files.
"""

import gzip
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

MAX_MEMBERS = 1_000
"""Limit of the files that are read from an archive; the published ones have 9 at most."""


def read_published_files(path: Path, folder: str, names: list[str], limit: int, archive_limit: int) -> list[bytes]:
    """The files of these names in the folder `path`, or in the folder called `folder` of the .tar.gz `path`.

    `limit` is the largest size in bytes of a file, and `archive_limit` that of the decompressed archive. Raises OSError
    for files that are missing or longer, and whatever tarfile and gzip do for broken archives.
    """
    if path.is_dir():
        return [_read_file(path / name, limit) for name in names]
    return _from_archive(path, [f"{folder}/{name}" for name in names], limit, archive_limit)


def _read_file(path: Path, limit: int) -> bytes:
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is no file")  # reading a pipe could wait forever
    with path.open("rb") as file:
        return _bounded(file.read, path.name, limit)


def _from_archive(archive: Path, wanted: list[str], limit: int, archive_limit: int) -> list[bytes]:
    found: dict[str, bytes] = {}
    with gzip.open(archive) as file, _tar(Capped(file, archive_limit)) as tar:
        for count, member in enumerate(tar):
            if member.name in wanted and member.isreg() and (content := tar.extractfile(member)):
                found[member.name] = _bounded(content.read, member.name, limit)
            if len(found) == len(wanted):
                return [found[name] for name in wanted]
            if count == MAX_MEMBERS:
                break
    raise tarfile.ReadError(f"it has no {', '.join(name for name in wanted if name not in found)}")


@dataclass
class Capped:
    """A file that raises OSError when more is read than it may hold."""

    file: gzip.GzipFile
    left: int

    def read(self, size: int) -> bytes:
        """The next bytes. Raises OSError where the file would be too long."""
        blob = self.file.read(min(size, self.left + 1))
        self.left -= len(blob)
        if self.left < 0:
            raise OSError("it is longer, decompressed, than the published archive")
        return blob


def _tar(file: Capped) -> tarfile.TarFile:
    """The archive in a file, read from front to back: a stream has no offsets that could lead it in a circle."""
    return tarfile.open(fileobj=cast(IO[bytes], file), mode="r|")


def _bounded(read: Callable[[int], bytes], name: str, limit: int) -> bytes:
    blob = read(limit + 1)
    if len(blob) > limit:
        raise OSError(f"{name} is longer than any file of the set")
    return blob
