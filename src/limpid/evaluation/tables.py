"""Reports as text: one as a table, two side by side with the differences that are more than noise."""

from collections.abc import Sequence
from dataclasses import fields

from limpid.evaluation.report import Better, EvalProtocol, EvalReport, Score
from limpid.metrics.estimate import difference


def report_table(report: EvalReport) -> str:
    """The report as a person reads it."""
    protocol, width = report.protocol, max(len(name) for name in report.scores)
    floors = any(score.held_out is not None for score in report.scores.values())
    lines = [
        f"{report.name}: {describe(report)}",
        f"{protocol.n:,} against {protocol.reference_n:,}: {protocol.reference}, {protocol.reference_sha256[:12]}",
        f"judge: {protocol.feature_extractor} ({protocol.extractor_sha256[:12]}), {protocol.resize}",
        "",
        f"  {'':{width}}  {'score':>9}  {'95% interval':>19}{'  held-out real' if floors else ''}",
    ]
    lines += [_line(name.ljust(width), score) for name, score in report.scores.items()]
    return "\n".join([*lines, *(["", *report.notes] if report.notes else [])])


def _line(name: str, score: Score) -> str:
    low, high = score.estimate.interval
    within = f"{format_number(low)} .. {format_number(high)}" if score.error else ""
    floor = f"  {format_number(score.held_out):>13}" if score.held_out is not None else " " * 15
    direction = f"  {score.better} is better" if score.better else ""
    return f"  {name}  {format_number(score.value):>9}  {within:>19}{floor}{direction}".rstrip()


def format_number(value: float) -> str:
    """A number with four digits that count."""
    return f"{value:#.4g}".rstrip(".") if abs(value) < 1e5 else f"{value:,.0f}"


def compare(first: Sequence[EvalReport], second: Sequence[EvalReport]) -> str:
    """Two subjects side by side, by their newest reports under one protocol, and which differences are more than noise.

    Reports of pictures that were drawn alike come before newer ones. Raises ValueError if no two were scored alike.
    """
    pairs = [(a, b) for a in reversed(first) for b in reversed(second) if a.protocol == b.protocol]
    pairs.sort(key=lambda pair: bool(sampling_differences(*pair)))
    if not pairs:
        a, b = first[-1], second[-1]
        unlike = "; ".join(protocol_differences(a.protocol, b.protocol))
        raise ValueError(f"{a.name} and {b.name} were not scored alike ({unlike}): their scores do not compare")
    a, b = pairs[0]
    shared = [name for name in a.scores if name in b.scores]
    width = max(len(name) for name in shared)
    lines = [f"{mark}: {each.name}: {describe(each)}" for mark, each in (("A", a), ("B", b))]
    lines += [f"both: {a.protocol.n:,} pictures against {a.protocol.reference}, judge {a.protocol.feature_extractor}"]
    if unlike := sampling_differences(a, b):
        lines.append(f"drawn in ways that differ by their {', '.join(unlike)}")
    lines.append("")
    lines += [f"  {'':{width}}  {'A':>9}  {'B':>9}  {'A - B':>9}  {'95% interval':>19}"]
    return "\n".join([*lines, *(_compared(name.ljust(width), a.scores[name], b.scores[name]) for name in shared)])


def _compared(name: str, a: Score, b: Score) -> str:
    apart = difference(a.estimate, b.estimate)
    low, high = apart.interval
    within = f"{format_number(low)} .. {format_number(high)}" if apart.error else ""
    verdict = "" if not apart.error else "within the noise" if low <= 0 <= high else _winner(apart.value, a.better)
    values = "  ".join(f"{format_number(value):>9}" for value in (a.value, b.value, apart.value))
    return f"  {name}  {values}  {within:>19}  {verdict}".rstrip()


def _winner(apart: float, better: Better) -> str:
    if not better:
        return "they differ"
    return f"{'A' if (apart < 0) == (better == 'less') else 'B'} is better"


def describe(report: EvalReport) -> str:
    """How the pictures of a report came about, in words."""
    return ", ".join(f"{name} {value}" for name, value in report.provenance.items() if not isinstance(value, dict))


def sampling_differences(a: EvalReport, b: EvalReport) -> list[str]:
    """In what the ways differ by which pictures were drawn, if both say so."""
    names = ("sampler", "steps", "guidance", "sampling", "weights", "seeds")
    return [n for n in names if n in a.provenance and n in b.provenance and a.provenance[n] != b.provenance[n]]


def protocol_differences(a: EvalProtocol, b: EvalProtocol) -> list[str]:
    """Where two protocols differ, in words."""
    pairs = [(spec.name, getattr(a, spec.name), getattr(b, spec.name)) for spec in fields(EvalProtocol)]
    return [f"{name.replace('_', ' ')} {format_value(x)} and {format_value(y)}" for name, x, y in pairs if x != y]


def format_value(value: object) -> str:
    """A value in a line: a hash by its beginning."""
    text = str(value)
    return text[:12] if len(text) == 64 and " " not in text else text
