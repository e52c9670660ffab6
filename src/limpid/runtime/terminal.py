"""What reaches a terminal: text without control characters, which names and files of others may hold.

By them a name could move the cursor, hide a line, or set the title of the window.
"""

import sys


def printable(text: str) -> str:
    """The text with whatever a terminal or a file of UTF-8 would not show spelt out, line ends too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def echo(what: object = "", *, end: str = "\n", to_stderr: bool = False) -> None:
    """Print something, control characters but for line ends spelt out."""
    text = "\n".join(map(printable, str(what).split("\n")))
    print(text, end=end, file=sys.stderr if to_stderr else sys.stdout, flush=True)
