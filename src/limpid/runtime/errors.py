"""An error as one line for a user: the command prints it, and the page of the lab shows the same."""

import errno
import os

ADVICE = dict.fromkeys(
    (errno.ENOSPC, errno.EDQUOT), "; free some space there, or name another folder: nothing that was saved is lost"
)
"""Advice about an error of the operating system, by its errno."""
DEFAULT_MESSAGES: dict[type[Exception], str] = {
    MemoryError: "there is not enough memory: a smaller --batch-size needs less"
}
"""Messages for errors that come without one."""


def error_line(error: Exception) -> str:
    """An error as one line: for one of the operating system its file, what is wrong, and advice."""
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return " ".join(str(error).splitlines()) or DEFAULT_MESSAGES.get(type(error), type(error).__name__)
    return f"{os.fsdecode(error.filename)}: {error.strerror}{ADVICE.get(error.errno or 0, '')}"
