"""A file from the net: whole and checked, or not there at all."""

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, cast
from urllib.error import HTTPError
from urllib.request import urlopen

from limpid.storage.atomic import atomic_write

TIMEOUT = 30.0
"""Seconds of silence after which a server is given up."""


def cache_dir() -> Path:
    """The folder that data is kept in: $LIMPID_DATA, else limpid's own in the user's cache folder.

    Raises ValueError for a user without a home who names none.
    """
    if named := os.environ.get("LIMPID_DATA"):
        return expanded(named)
    variable, usual = ("LOCALAPPDATA", "AppData/Local") if os.name == "nt" else ("XDG_CACHE_HOME", ".cache")
    return Path(os.environ.get(variable) or expanded("~") / usual, "limpid")


def expanded(path: str | Path) -> Path:
    """A path with ~ as the user's home, and ~name as another's. Raises ValueError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        advice = "name a folder in full, and one to keep data in with LIMPID_DATA"
        raise ValueError(f"{str(path)!r} has no meaning here, as no home folder is known ($HOME): {advice}") from error


def download(url: str, checksum: str, path: Path) -> None:
    """Brings what is at `url` to `path`, which appears only when it is whole. Raises ValueError if that fails.

    The checksum is written with its kind, as in "md5:c58f30...", or "sha256:672682...".
    """
    kind, _, expected = checksum.partition(":")
    try:
        with atomic_write(path) as part:
            if (found := _fetch(url, kind, part)) != expected:
                kind = kind.upper()
                raise ValueError(
                    f"cannot download {url}: what came has the {kind} checksum {found}, expected {expected}"
                )
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise ValueError(f"cannot download {url}: {error}") from error


def _fetch(url: str, kind: str, path: Path) -> str:
    """Writes what is at `url` to `path` under a progress bar, and returns its checksum. Raises OSError if cut off."""
    from rich.console import Console
    from rich.progress import wrap_file

    digest = hashlib.new(kind, usedforsecurity=False)
    with urlopen(url, timeout=TIMEOUT) as response, path.open("xb") as file:
        total = int(response.headers.get("Content-Length", 0))
        title, screen = url.rpartition("/")[2], Console(stderr=True)
        with wrap_file(cast(BinaryIO, response), total, description=title, console=screen) as reader:
            while chunk := reader.read(2**18):
                file.write(chunk)
                digest.update(chunk)
        if file.tell() < total:
            raise OSError(f"cut off after {file.tell():,} of {total:,} bytes")
    return digest.hexdigest()
