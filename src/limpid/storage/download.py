"""Downloads: a file appears under its name only when it is complete and its checksum is right."""

import hashlib
import os
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from limpid.runtime.progress_line import ProgressLine
from limpid.runtime.terminal import echo
from limpid.storage.atomic import atomic_write

TIMEOUT = 30.0
"""Seconds without an answer after which a download fails."""
MEGABYTE = 10**6


def cache_dir() -> Path:
    """The folder for downloads and caches: $LIMPID_DATA, else `limpid` in the user's cache folder.

    Raises ValueError if neither that variable nor a home folder is set.
    """
    if named := os.environ.get("LIMPID_DATA"):
        return expand_home(named)
    variable, usual = ("LOCALAPPDATA", "AppData/Local") if os.name == "nt" else ("XDG_CACHE_HOME", ".cache")
    return Path(os.environ.get(variable) or expand_home("~") / usual, "limpid")


def expand_home(path: str | Path) -> Path:
    """A path with ~ as the user's home, and ~name as another's. Raises ValueError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        advice = "give the full path of a folder, and of one for data in LIMPID_DATA"
        raise ValueError(f"cannot expand {str(path)!r}, since no home folder is known ($HOME): {advice}") from error


def download(url: str, checksum: str, path: Path) -> None:
    """Download `url` to `path`, which appears only when it is complete. Raises ValueError if that fails.

    The checksum names its algorithm, as in "md5:c58f30..." or "sha256:672682...".
    """
    kind, _, expected = checksum.partition(":")
    try:
        with atomic_write(path) as part:
            if (found := _fetch(url, kind, part)) != expected:
                kind = kind.upper()
                raise ValueError(
                    f"cannot download {url}: the file has the {kind} checksum {found}, expected {expected}"
                )
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise ValueError(f"cannot download {url}: {error}") from error


def _fetch(url: str, kind: str, path: Path) -> str:
    """Write what is at `url` to `path`, with progress on stderr; returns its checksum. Raises OSError if cut off."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with urlopen(url, timeout=TIMEOUT) as response:
        echo(f"downloading {url}", to_stderr=True)
        save_response(response, path, url.rpartition("/")[2], digest.update)
    return digest.hexdigest()


def save_response(
    response: HTTPResponse, path: Path, name: str, on_chunk: Callable[[bytes], object] = lambda chunk: None
) -> None:
    """Write the body of a response to a new file, with progress on stderr. Raises OSError if it is cut off."""
    total = int(response.headers.get("Content-Length", 0))
    with path.open("xb") as file, ProgressLine(name, total / MEGABYTE, " MB") as line:
        while chunk := response.read(2**18):
            file.write(chunk)
            on_chunk(chunk)
            line.advance(len(chunk) / MEGABYTE)
        if file.tell() < total:
            raise OSError(f"cut off after {file.tell():,} of {total:,} bytes")
