"""Sweeps over sampling options: `limpid evaluate RUN --sweep steps=10,20,50 guidance=1,1.5,2`."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from limpid.evaluation.report import EvalReport, format_number
from limpid.viz.plot import Curve, curves

SweepResults = Sequence[tuple[dict[str, str], EvalReport]]
"""The options of each point of a sweep, and its report."""


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


def sweep_table(results: SweepResults, name: str) -> str:
    """A line for each point: its options, network evaluations per image (NFE), the score and its interval."""
    header = [*results[0][0], "NFE", name, "95% interval"]
    rows = []
    for settings, report in results:
        score = report.scores[name]
        low, high = score.estimate.interval
        nfe, interval = f"{report.provenance['NFE']:g}", f"{format_number(low)} .. {format_number(high)}"
        rows.append([*settings.values(), nfe, format_number(score.value), interval])
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table)


def sweep_plot(results: SweepResults, name: str, path: Path) -> Path:
    """A plot of the score against the first option if that is a number, else against NFE.

    There is a line for each combination of the other options.
    """
    first, *others = results[0][0]
    x_label = first if all(_is_number(settings[first]) for settings, _ in results) else "NFE"
    lines: dict[str, list[tuple[float, float]]] = {}
    for settings, report in results:
        labelled = others if x_label == first else [first, *others]
        label = ", ".join(f"{option} {settings[option]}" for option in labelled) or report.name
        x = float(settings[first]) if x_label == first else float(report.provenance["NFE"])
        lines.setdefault(label, []).append((x, report.scores[name].value))
    series = [
        Curve(label, [x for x, _ in sorted(points)], [y for _, y in sorted(points)]) for label, points in lines.items()
    ]
    return curves(series, path, f"{name} by {first}", x_label, name)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
