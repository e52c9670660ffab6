"""Comparison of two evaluations: the differences of their scores, and which of them exceed the noise."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import TypeAlias

from limpid.evaluation.report import Better, EvalProtocol, EvalReport, Score, describe, format_number
from limpid.evaluation.report_file import reports_of
from limpid.metrics.estimate import Estimate, difference

ReportsLike: TypeAlias = EvalReport | Sequence[EvalReport] | Path | str
"""A report, several of them, oldest first, or the path of a run, a checkpoint or a file of scores."""


@dataclass(frozen=True)
class Comparison:
    """Two reports under one protocol; `print` shows their scores side by side, and so does a notebook."""

    a: EvalReport
    b: EvalReport

    @property
    def differences(self) -> dict[str, Estimate]:
        """a - b of each score that both have; a difference is noise if 0 is in its interval."""
        both = [name for name in self.a.scores if name in self.b.scores]
        return {name: difference(self.a.scores[name].estimate, self.b.scores[name].estimate) for name in both}

    @property
    def about(self) -> list[str]:
        """Lines that describe A, B, their common protocol, and the sampling settings that differ."""
        a, b, protocol = self.a, self.b, self.a.protocol
        lines = [f"{mark}: {each.name}: {describe(each)}" for mark, each in (("A", a), ("B", b))]
        lines += [f"both: {protocol.n:,} images against {protocol.reference}, features {protocol.feature_extractor}"]
        if settings := sampling_differences(a, b):
            lines.append(f"sampled with different {', '.join(settings)}")
        return lines

    def __str__(self) -> str:
        a, b, differences = self.a, self.b, self.differences
        width = max(len(name) for name in differences)
        lines = [*self.about, "", f"  {'':{width}}  {'A':>9}  {'B':>9}  {'A - B':>9}  {'95% interval':>19}"]
        lines += [_line(name.ljust(width), a.scores[name], b.scores[name], differences[name]) for name in differences]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def compare(a: ReportsLike, b: ReportsLike) -> Comparison:
    """The newest reports of a and b under one protocol, side by side.

    Reports with equal sampling settings are preferred to newer ones. Raises ValueError if no two have one protocol.
    """
    first, second = reports_from(a), reports_from(b)
    pairs = [(x, y) for x in reversed(first) for y in reversed(second) if x.protocol == y.protocol]
    pairs.sort(key=lambda pair: bool(sampling_differences(*pair)))
    if not pairs:
        x, y = first[-1], second[-1]
        differences = "; ".join(protocol_differences(x.protocol, y.protocol))
        raise ValueError(f"{x.name} and {y.name} have different protocols ({differences}): their scores do not compare")
    return Comparison(*pairs[0])


def reports_from(reports: ReportsLike) -> Sequence[EvalReport]:
    """The reports, oldest first. Raises ValueError if there are none."""
    if isinstance(reports, EvalReport):
        return [reports]
    return reports_of(Path(reports)) if isinstance(reports, str | Path) else reports


def _line(name: str, a: Score, b: Score, delta: Estimate) -> str:
    low, high = delta.interval
    interval = f"{format_number(low)} .. {format_number(high)}" if delta.error else ""
    values = "  ".join(f"{format_number(value):>9}" for value in (a.value, b.value, delta.value))
    return f"  {name}  {values}  {interval:>19}  {verdict(a, delta)}".rstrip()


def verdict(a: Score, delta: Estimate) -> str:
    """Which of two scores is better, if their difference `delta` exceeds its noise; empty if the noise is not known."""
    if not delta.error:
        return ""
    low, high = delta.interval
    return "within the noise" if low <= 0 <= high else _winner(delta.value, a.better)


def _winner(delta: float, better: Better) -> str:
    if not better:
        return "they differ"
    return f"{'A' if (delta < 0) == (better == 'less') else 'B'} is better"


def sampling_differences(a: EvalReport, b: EvalReport) -> list[str]:
    """The sampling settings in which two reports differ, of those that both have."""
    names = ("sampler", "steps", "guidance", "sampling", "weights", "seeds")
    return [n for n in names if n in a.provenance and n in b.provenance and a.provenance[n] != b.provenance[n]]


def protocol_differences(a: EvalProtocol, b: EvalProtocol) -> list[str]:
    """The fields in which two protocols differ, with both values."""
    pairs = [(spec.name, getattr(a, spec.name), getattr(b, spec.name)) for spec in fields(EvalProtocol)]
    return [f"{name.replace('_', ' ')} {format_value(x)} and {format_value(y)}" for name, x, y in pairs if x != y]


def format_value(value: object) -> str:
    """A value as text; a hash is abbreviated."""
    text = str(value)
    return text[:12] if len(text) == 64 and " " not in text else text
