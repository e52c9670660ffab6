"""A file is there whole or not at all: it is written under another name and takes its own when it is done."""

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
"""Seconds after which what was begun, and not written to since, is taken for that of a command that was killed: in a
folder of the user's, and in one that is limpid's alone."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """A name beside `path` to write to: renamed to `path` at the end, removed if the writing fails.

    It is another each time: commands that write one file at once each write their own, and the last to end stays. What
    a command that was killed had begun to write of the same file is removed after a day.
    """
    path = Path(path)
    with _renamed(part_of(path), path) as part:
        yield part
    same = re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}\.part")
    for begun in filter(lambda other: same.fullmatch(other.name), _stale_parts(path.parent)):
        with suppress(OSError):  # another command was first, or it is another user's
            if time.time() - begun.stat().st_mtime > DAY:
                begun.unlink()


@contextmanager
def durable_write(path: Path) -> Iterator[Path]:
    """As `whole`, and whole also after a power cut: the disk has the content before the name.

    For what is written by one alone, as by the run that holds its folder: the name beside it is always the same, so
    that what was begun by one that was killed is written over.
    """
    with _renamed(path.with_name(f"{path.name}.part"), path) as part:
        yield part
        fsync(part)
    fsync(path.parent)


def part_of(path: Path) -> Path:
    """A name beside `path` to write to, another each time."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")


def remove_abandoned(folder: Path) -> None:
    """Remove what commands that were killed had begun to write in a folder that is limpid's alone: files and folders.

    What may not be removed stays.
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
    """What was begun in a folder before this command wrote there: a folder of many files is searched only once."""
    return list(folder.glob("*.part"))


@contextmanager
def _renamed(part: Path, path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)  # it may be a link to a file elsewhere, which would be written to
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part)):
            raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk names no file
        raise
    finally:
        part.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Wait until the disk has what was written to a file, or the names that a folder holds."""
    if sys.platform == "win32" and path.is_dir():  # it keeps its folders by itself, and does not open them
        return
    file = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
