"""One score for many ways to draw: `limpid evaluate RUN --sweep steps=10,20,50 guidance=1,1.5,2`."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from limpid.evaluation.report import EvalReport
from limpid.evaluation.tables import format_number
from limpid.viz.plot import Curve, curves

SweepResults = Sequence[tuple[dict[str, str], EvalReport]]
"""The options of each way to draw, and what it scored."""


def parse_sweep(words: Sequence[str]) -> list[dict[str, str]]:
    """Every combination of the values of all options, each given as `name=value,value`. Raises ValueError if not."""
    values: dict[str, list[str]] = {}
    for word in words:
        name, equals, given = word.partition("=")
        name = name.removeprefix("--")
        if not (equals and name and all(given.split(","))):
            raise ValueError(f"--sweep {word}: expected an option and its values, as in steps=10,20,50")
        values[name] = given.split(",")
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())] if values else []


def to_arguments(settings: dict[str, str]) -> list[str]:
    """The options of one point of a sweep, as the command takes them."""
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def sweep_table(swept: SweepResults, name: str) -> str:
    """A line for each way to draw: its options, its network evaluations, the score and its interval."""
    heads = [*swept[0][0], "evaluations", name, "95% interval"]
    rows = []
    for way, report in swept:
        score = report.scores[name]
        low, high = score.estimate.interval
        evaluations = f"{report.provenance['evaluations']:g}"
        rows.append(
            [*way.values(), evaluations, format_number(score.value), f"{format_number(low)} .. {format_number(high)}"]
        )
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *rows]
    )


def sweep_plot(swept: SweepResults, name: str, path: Path) -> Path:
    """The score along the first option if that is a number, else along network evaluations; a line for each rest."""
    first, *others = swept[0][0]
    along = first if all(_is_number(way[first]) for way, _ in swept) else "evaluations"
    lines: dict[str, list[tuple[float, float]]] = {}
    for way, report in swept:
        kept = others if along == first else [first, *others]
        label = ", ".join(f"{option} {way[option]}" for option in kept) or report.name
        x = float(way[first]) if along == first else float(report.provenance["evaluations"])
        lines.setdefault(label, []).append((x, report.scores[name].value))
    drawn = [
        Curve(label, [x for x, _ in sorted(points)], [y for _, y in sorted(points)]) for label, points in lines.items()
    ]
    return curves(drawn, path, f"{name} by {first}", along, name)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
