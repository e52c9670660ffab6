"""What a broken file says, or is called, as one line that can be printed."""


def one_line(error: Exception) -> str:
    """What an exception says, in one short line of printable characters."""
    said = " ".join(str(error).split()) or type(error).__name__
    return printable(said if len(said) <= 200 else f"{said[:200]}...")


def printable(text: str) -> str:
    """The text with whatever a terminal or a file of UTF-8 would not show spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
