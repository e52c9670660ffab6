"""What a run says when something is wrong and it goes on all the same."""

import sys


def warn(problem: str) -> None:
    """Say a problem in one line, on the stream for errors, so that what a command prints stays clean."""
    print(f"limpid: {problem}", file=sys.stderr, flush=True)
