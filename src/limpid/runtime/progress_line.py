"""The progress of a long task: a line on stderr, rewritten in place on a terminal, and repeated in a pipe."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from limpid.runtime.terminal import echo, printable

TERMINAL_INTERVAL, PIPE_INTERVAL = 0.1, 10.0
"""Seconds between two updates; a task that ends before the first shows none."""
BAR = 24
"""Characters of the bar on a terminal."""
CLEAR = "\r\033[K"
"""Control characters that move a terminal's cursor to the beginning of the line and clear the line."""

T = TypeVar("T")


class ProgressLine:
    """Counts up to `total` (0 if unknown), in `unit`, and shows the count on stderr at intervals."""

    def __init__(self, what: str, total: float = 0, unit: str = "") -> None:
        self.what, self.total, self.unit, self.done = printable(what), total, unit, 0.0
        self.on_terminal = sys.stderr.isatty()
        self.interval = TERMINAL_INTERVAL if self.on_terminal else PIPE_INTERVAL
        self.due = time.monotonic() + self.interval
        self.shown = False

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown and self.on_terminal:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()

    def __str__(self) -> str:
        done = f"{self.what}: {self.done:,.0f}"
        return f"{done} of {self.total:,.0f}{self.unit}" if self.total else f"{done}{self.unit}"

    def advance(self, amount: float = 1) -> None:
        """Add `amount` to the count."""
        self.done += amount
        if time.monotonic() < self.due:
            return
        self.due, self.shown = time.monotonic() + self.interval, True
        if self.on_terminal:
            sys.stderr.write(f"{CLEAR}{self._bar()}{self}")
            sys.stderr.flush()
        else:
            echo(self, to_stderr=True)

    def _bar(self) -> str:
        if not self.total:
            return ""
        filled = round(BAR * min(self.done / self.total, 1))
        return f"[{'=' * filled}{' ' * (BAR - filled)}] "


def progress(items: Iterable[T], what: str, total: float = 0) -> Iterator[T]:
    """The items, counted in a `ProgressLine` as they are consumed."""
    with ProgressLine(what, total) as line:
        for item in items:
            yield item
            line.advance()
