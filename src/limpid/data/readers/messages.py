"""The error of a broken file as one line that can be printed."""

from limpid.runtime.terminal import printable


def one_line(error: Exception) -> str:
    """The message of an exception as one short line of printable characters."""
    message = " ".join(str(error).split()) or type(error).__name__
    return printable(message if len(message) <= 200 else f"{message[:200]}...")
