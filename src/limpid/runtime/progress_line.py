"""How far something is that takes a while: a line on stderr that is rewritten on a terminal, and repeated in a pipe."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from limpid.runtime.terminal import echo, printable

TERMINAL_INTERVAL, PIPE_INTERVAL = 0.1, 10.0
"""Seconds between two updates; what ends before the first says nothing."""
BAR = 24
"""Characters of the bar on a terminal."""
CLEAR = "\r\033[K"
"""What takes a terminal's cursor to the beginning of the line and clears it."""

T = TypeVar("T")


class ProgressLine:
    """Counts what is done of `total` (0 where that is not known), and says so on stderr now and then."""

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
        """Count so much more as done."""
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
    """The items, counted in a `ProgressLine` as they are taken."""
    with ProgressLine(what, total) as line:
        for item in items:
            yield item
            line.advance()
