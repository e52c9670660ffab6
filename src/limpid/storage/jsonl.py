"""The log of a run in JSON Lines: one object a line, beginning with the number of images seen."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from limpid.runtime.log import logger
from limpid.storage.atomic import durable_write, fsync
from limpid.storage.regular_files import open_unlinked, read_bytes, require_regular
from limpid.storage.renamed import with_new_names

Line = dict[str, Any]
MAX_LOG_BYTES = 1 << 30
"""Limit of the size of a log, in bytes."""
EDGES = (-6.0, -2.0, 2.0, 6.0)
"""The edges of the log-SNR bins for which losses are logged: from nearly pure noise to nearly the clean image."""
LOGSNR_BINS = ("..-6", "-6..-2", "-2..2", "2..6", "6..")


class JsonlLog:
    """A log that is being written. Lines that could not be written are written together with the next one."""

    def __init__(self, path: Path):
        self.path = path
        self.waiting = b""
        self.stale = False
        """Whether the waiting lines are the complete log, and replace the file."""

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line completely or not at all. Raises OSError if writing fails; the line then waits."""
        self.waiting += json.dumps(line).encode() + b"\n"
        self._write()

    def _write(self) -> None:
        if self.stale:
            with durable_write(self.path) as part:
                part.write_bytes(self.waiting)
        elif self.waiting:
            append(self.path, self.waiting)
        self.waiting, self.stale = b"", False

    def lines(self) -> list[Line]:
        """Every undamaged line, oldest first, including those that wait to be written."""
        return [line for _, line in self._parsed() if line]

    def sync(self) -> None:
        """Wait until every line is on disk, so that no line before a checkpoint is lost by a power cut."""
        with suppress(OSError):  # no fsync on this file system, or no file yet
            self._write()
            fsync(self.path)

    def cut(self, seen: int) -> None:
        """Remove the lines after image `seen`, which a resumed run writes again; damaged lines are reported and moved
        to another file.

        Raises OSError if writing fails; the log is then cut with the next line.
        """
        parsed = self._parsed()
        if damaged := {number: text for number, (text, line) in enumerate(parsed, 1) if not line}:
            aside = self.path.with_name(f"{self.path.name}.aside")
            what = f"line{'s' * (len(damaged) > 1)} {', '.join(map(str, list(damaged)[:10]))}"
            logger.warning(f"{self.path} is damaged in {what}: moved to {aside.name}; all other lines are intact")
            with suppress(OSError):
                append(aside, b"".join(text.rstrip(b"\n") + b"\n" for text in damaged.values()))
        remaining = [text for text, line in parsed if line and line["images_seen"] <= seen]
        self.waiting, self.stale = b"".join(remaining), True
        self._write()

    def _parsed(self) -> list[tuple[bytes, Line | None]]:
        return [*([] if self.stale else _parsed(_content(self.path))), *_parsed(self.waiting)]


def append(path: Path, lines: bytes) -> None:
    """Append lines to a file, all of them or none. Raises OSError if writing fails."""
    file = open_unlinked(path, os.O_WRONLY | os.O_APPEND)
    try:
        before = os.fstat(file).st_size
        try:
            while lines:
                lines = lines[os.write(file, lines) :]
        except BaseException:
            with suppress(OSError):
                os.ftruncate(file, before)
            raise
    finally:
        os.close(file)


def read_jsonl(path: Path) -> list[Line]:
    """Every undamaged line, oldest first."""
    return [line for _, line in _parsed(_content(path)) if line]


def read_jsonl_from(path: Path, start: int) -> tuple[list[Line], int, int]:
    """The undamaged lines of a log that grows, from byte `start` on, the number of damaged ones, and the byte from
    which to read the next ones."""
    require_regular(path)
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(MAX_LOG_BYTES)
    complete = content[: content.rfind(b"\n") + 1]
    parsed = _parsed(complete)
    lines = [line for _, line in parsed if line]
    return lines, len(parsed) - len(lines), start + len(complete)


def _content(path: Path) -> bytes:
    return read_bytes(path, MAX_LOG_BYTES) if path.exists() else b""


def _parsed(content: bytes) -> list[tuple[bytes, Line | None]]:
    """Each line as text, and its parsed object; None for a damaged line."""
    return [(text, _line(text)) for text in content.splitlines(keepends=True)]


def _line(text: bytes) -> Line | None:
    try:
        line = json.loads(text) if text.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    if isinstance(line, dict):
        line = with_new_names("LogLine", line)
    if not isinstance(line, dict) or type(line.get("images_seen")) is not int:
        return None
    by_logsnr = line.get("loss_by_logsnr", {})
    values = [value for name, value in line.items() if name != "loss_by_logsnr"]
    right = isinstance(by_logsnr, dict) and all(map(_is_number, [*values, *by_logsnr.values()]))
    return line if right and ("loss" in line or len(line) <= 2) else None  # a line is of losses, or of one score


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 63)
