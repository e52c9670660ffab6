"""What a broken file says, as one line that can be printed."""

from limpid.runtime.terminal import printable


def one_line(error: Exception) -> str:
    """What an exception says, in one short line of printable characters."""
    said = " ".join(str(error).split()) or type(error).__name__
    return printable(said if len(said) <= 200 else f"{said[:200]}...")
