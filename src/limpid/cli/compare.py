"""`limpid compare`: the scores of two runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from limpid.cli.parser import parse, positional
from limpid.evaluation.compare import compare
from limpid.runtime.terminal import echo


@dataclass(frozen=True)
class Compare:
    """Show the scores of two runs side by side, and which differences are larger than their noise.

    A and B are runs, checkpoints, or files that limpid evaluate wrote. Their newest scores under one protocol are
    compared: the same number of images, feature network and reference.
    """


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid compare A B": Compare()}


def main(arguments: Sequence[str]) -> int:
    """`limpid compare A B`."""
    what = "RUN A and a RUN B, each a run folder, a checkpoint or a file of scores"
    first, rest = positional("compare", what, arguments, "A B")
    second, rest = positional(f"compare {first}", "RUN B to compare it with", rest, "B")
    parse(Compare(), rest, f"limpid compare {first} {second}")
    echo(compare(first, second))
    return 0
