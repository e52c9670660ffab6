"""What a run says when something is wrong and it goes on all the same."""

from limpid.runtime import distributed
from limpid.runtime.terminal import echo


def warn(problem: str) -> None:
    """Say a problem in one line, on the stream for errors, so that what a command prints stays clean."""
    who = "limpid" if distributed.is_main_process() else f"limpid, process {distributed.rank()}"
    echo(f"{who}: {problem}", to_stderr=True)
