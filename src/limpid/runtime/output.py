"""Output that cannot be written must not end a run: the reader of a pipe may end, a terminal close, a disk fill up."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any


class LossyStream:
    """A stream that drops what the stream below it cannot write, and tries again at the next write."""

    def __init__(self, stream: Any):  # any object: other programs replace stdout by their own
        self.stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; returns the length of all of it."""
        with suppress(OSError, ValueError):  # ValueError: a closed stream, or characters that its encoding lacks
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if the stream below can."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def lossy_output() -> Iterator[None]:
    """A context in which output to stdout and stderr is silently dropped where it cannot be written."""
    with ExitStack() as stack:
        if sys.stdout is not None:  # None if it was closed before Python started
            stack.enter_context(redirect_stdout(LossyStream(sys.stdout)))  # pyright: ignore[reportArgumentType]
        if sys.stderr is not None:
            stack.enter_context(redirect_stderr(LossyStream(sys.stderr)))  # pyright: ignore[reportArgumentType]
        yield


def reader_has_gone() -> bool:
    """Whether stdout or stderr is a pipe whose reader has closed it. Another pipe may be the one that has broken: that
    of a worker process, or a connection. Always true on Windows, which cannot tell."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):  # a stream without a file descriptor
            poll.register(stream.fileno(), 0)  # an error is reported in any case
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def discard_unwritten() -> None:
    """At the end of a command: redirect a stream that cannot be flushed to the null device.

    Otherwise Python tries to flush it again at exit, fails, and exits with code 120.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):  # a stream without a file descriptor
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
