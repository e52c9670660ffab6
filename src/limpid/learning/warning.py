"""What a run says when something is wrong and it goes on all the same."""

from limpid.learning import parallel
from limpid.terminal import echo


def warn(problem: str) -> None:
    """Say a problem in one line, on the stream for errors, so that what a command prints stays clean."""
    who = "limpid" if parallel.is_main_process() else f"limpid, process {parallel.rank()}"
    echo(f"{who}: {problem}", to_stderr=True)
