"""`limpid compare`: the scores of two runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limpid.cli.parser import parse, positional
from limpid.evaluation.report import EvalReport, load_reports
from limpid.evaluation.tables import compare
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import is_pretrained, output_folder


@dataclass(frozen=True)
class Compare:
    """Put the scores of two runs side by side, and say which differences are larger than their noise."""


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {"limpid compare A B": Compare()}


def main(arguments: Sequence[str]) -> int:
    """`limpid compare A B`."""
    first, rest = positional(
        "compare", "RUN A and a RUN B, each a run folder, a checkpoint or a file of scores", arguments
    )
    second, rest = positional(f"compare {first}", "RUN B to compare it with", rest)
    parse(Compare(), rest, f"limpid compare {first} {second}")
    echo(compare(reports_of(Path(first)), reports_of(Path(second))))
    return 0


def reports_of(path: Path) -> list[EvalReport]:
    """The reports on a run, or on one of its checkpoints alone, or those of a file. Raises ValueError for none."""
    single = path.suffix == ".safetensors"
    file = output_folder(path) / "scores.json" if single or is_pretrained(path) else path
    found = [] if single and not file.exists() else load_reports(file)
    own = [report for report in found if report.name == str(path)]
    if single and not own:
        raise ValueError(f"no scores of {path}: limpid evaluate {path} writes them")
    return own or found
