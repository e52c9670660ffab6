"""Messages of limpid: records of the logger "limpid", which only its commands print.

In another program only warnings are printed, by the default of `logging`, until that program configures logging.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from limpid.runtime import distributed
from limpid.runtime.terminal import echo, printable_lines

logger = logging.getLogger("limpid")


def spell_out(record: logging.LogRecord) -> bool:
    """Spell out the control characters of a message, which names of files and classes may hold; always True."""
    record.msg, record.args = printable_lines(record.getMessage()), ()
    return True


logger.addFilter(spell_out)


class CommandHandler(logging.Handler):
    """Prints plain lines to stdout, and warnings to stderr after the name of the program and the rank of its process,
    so that what a command prints stays clean."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            echo(record.getMessage())
        else:
            who = "limpid" if distributed.is_main_process() else f"limpid, process {distributed.rank()}"
            echo(f"{who}: {record.getMessage()}", to_stderr=True)


_logged: ContextVar[set[str] | None] = ContextVar("logged", default=None)
"""The lines of `warn_once` that were logged in the present context of `warnings_once`."""


@contextmanager
def warnings_once() -> Iterator[None]:
    """A context in which `warn_once` logs each line once: a command opens the same data several times."""
    token = _logged.set(set())
    try:
        yield
    finally:
        _logged.reset(token)


def warn_once(line: str) -> None:
    """Log a warning, unless the same one was logged in this context of `warnings_once`; outside of one, always."""
    logged = _logged.get()
    if logged is None or line not in logged:
        logger.warning(line)
    if logged is not None:
        logged.add(line)


@contextmanager
def printed_log() -> Iterator[None]:
    """A context, that of one command, in which the log is printed as commands print it."""
    handler, level = CommandHandler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with warnings_once():
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
