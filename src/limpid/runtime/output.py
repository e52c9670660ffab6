"""What a run prints may be lost, and never ends it: its reader may go, its terminal close, the disk under it fill."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any


class Lossy:
    """A stream that drops what the stream under it refuses, and offers it the next piece all the same."""

    def __init__(self, stream: Any):  # whatever stands as stdout: other programs put objects of their own there
        self.stream = stream

    def write(self, text: str) -> int:
        """Print what can be printed; all of it counts as written."""
        with suppress(OSError, ValueError):  # ValueError: a closed stream, or letters that it has no code for
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what can be passed on."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def lossy_output() -> Iterator[None]:
    """What is printed in here, to stdout or stderr, may be lost without a word."""
    with ExitStack() as stack:
        if sys.stdout is not None:  # as where it was closed before Python began
            stack.enter_context(redirect_stdout(Lossy(sys.stdout)))  # pyright: ignore[reportArgumentType]
        if sys.stderr is not None:
            stack.enter_context(redirect_stderr(Lossy(sys.stderr)))  # pyright: ignore[reportArgumentType]
        yield


def discard_unwritten() -> None:
    """At the end of a command: a stream that still refuses its last words leads nowhere from now on.

    Else Python tries to write them once more as it ends, and complains with exit code 120.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):  # a stream that is no file of the system
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
