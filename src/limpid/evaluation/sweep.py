"""The results of a sweep over sampling options, as a table and as a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from limpid.evaluation.report import EvalReport, format_number
from limpid.viz.plot import Curve, curves


class SweepResult(NamedTuple):
    """One point of a sweep."""

    settings: dict[str, str]
    """The options that vary, as they were typed."""
    report: EvalReport


def sweep_table(results: Sequence[SweepResult], name: str) -> str:
    """A line for each point: its options, network evaluations per image (NFE), the score and its interval."""
    header = [*results[0].settings, "NFE", name, "95% interval"]
    rows = []
    for settings, report in results:
        score = report.scores[name]
        low, high = score.estimate.interval
        nfe, interval = f"{report.provenance['NFE']:g}", f"{format_number(low)} .. {format_number(high)}"
        rows.append([*settings.values(), nfe, format_number(score.value), interval])
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table)


def sweep_plot(results: Sequence[SweepResult], name: str, path: Path) -> Path:
    """A plot of the score against the first option if that is a number, else against NFE.

    There is a line for each combination of the other options.
    """
    first, *others = results[0].settings
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
