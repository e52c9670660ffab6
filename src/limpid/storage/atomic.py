"""Atomic writes: a file is written under another name and renamed when it is complete."""

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

DAY, HOUR = 86_400.0, 3_600.0
"""Seconds without a write after which a partial file is taken to be left by a killed command: a day in the user's
folders, an hour in folders that only limpid uses."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """A context with a temporary path beside `path` to write to: renamed to `path` at its end, removed if writing
    fails.

    The temporary name is unique, so commands may write the same file at the same time; the last to finish wins. Partial
    files of the same path that a killed command left are removed after a day.
    """
    path = Path(path)
    with _renamed(part_of(path), path) as part:
        yield part
    same = re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}\.part")
    for part in filter(lambda other: same.fullmatch(other.name), _stale_parts(path.parent)):
        with suppress(OSError):  # another command was first, or it is another user's
            if time.time() - part.stat().st_mtime > DAY:
                part.unlink()


@contextmanager
def durable_write(path: Path) -> Iterator[Path]:
    """As `atomic_write`, and complete also after a power cut: the content is on disk before the file is renamed.

    For files with a single writer, such as those of a run: the temporary name is always the same, so a partial file
    that a killed run left is overwritten.
    """
    with _renamed(path.with_name(f"{path.name}.part"), path) as part:
        yield part
        fsync(part)
    fsync(path.parent)


def part_of(path: Path) -> Path:
    """A unique temporary name beside `path`."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")


def remove_abandoned(folder: Path) -> None:
    """Remove the partial files and folders that killed commands left in a folder that only limpid uses.

    Files that cannot be removed are ignored.
    """
    for part in folder.glob("*.part"):
        if not re.search(r"\.[0-9a-f]{8}\.part$", part.name):
            continue
        with suppress(OSError):  # another command was first, or it is another user's
            is_folder = part.is_dir() and not part.is_symlink()
            written = max(each.lstat().st_mtime for each in (part, *(part.glob("*") if is_folder else ())))
            if time.time() - written > HOUR:
                shutil.rmtree(part) if is_folder else part.unlink()


@cache
def _stale_parts(folder: Path) -> list[Path]:
    """The partial files in a folder before this command wrote to it; each folder is searched only once."""
    return list(folder.glob("*.part"))


@contextmanager
def _renamed(part: Path, path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)  # it may be a link, through which another file would be written
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part)):
            raise OSError(
                error.errno, error.strerror, str(path)
            ) from error  # the error of a full disk has no file name
        raise
    finally:
        part.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on disk."""
    if sys.platform == "win32" and path.is_dir():  # Windows cannot open folders, and needs no fsync for them
        return
    file = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
