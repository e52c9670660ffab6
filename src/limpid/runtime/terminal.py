"""What reaches a terminal: text without control characters, which names and files of others may hold.

By them a name could move the cursor, hide a line, or set the title of the window.
"""

import sys


def printable(text: str) -> str:
    """The text with every character spelt out that a terminal or a UTF-8 file would not show, line ends too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The text with control characters spelt out, but for line ends."""
    return "\n".join(map(printable, text.split("\n")))


def echo(what: object = "", *, end: str = "\n", to_stderr: bool = False) -> None:
    """Print something, its control characters but for line ends spelt out."""
    print(printable_lines(str(what)), end=end, file=sys.stderr if to_stderr else sys.stdout, flush=True)
