"""Text for a terminal, without control characters, which the names and files of other people may contain.

With them a name could move the cursor, hide a line, or set the title of the window.
"""

import sys


def printable(text: str) -> str:
    """The text with every unprintable character spelt out as an escape sequence, line ends too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The text with every unprintable character spelt out, except line ends."""
    return "\n".join(map(printable, text.split("\n")))


def echo(what: object = "", *, end: str = "\n", to_stderr: bool = False) -> None:
    """Print `what`, with every unprintable character spelt out, except line ends."""
    print(printable_lines(str(what)), end=end, file=sys.stderr if to_stderr else sys.stdout, flush=True)
