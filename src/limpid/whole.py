"""A file is there whole or not at all: it is written under another name and takes its own when it is done."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """A name beside `path` to write to: renamed to `path` at the end, removed if the writing fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def durable(path: Path) -> Iterator[Path]:
    """As `whole`, and whole also after a power cut: the disk has the content before the name."""
    with whole(path) as part:
        yield part
        sync(part)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has what was written to a file, or the names that a folder holds."""
    if sys.platform == "win32" and path.is_dir():  # it keeps its folders by itself, and does not open them
        return
    file = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
