"""Evaluation reports: scores with their protocol and provenance, shown as a table."""

from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from limpid.metrics.estimate import Estimate

Better = Literal["less", "more", ""]


@dataclass(frozen=True)
class EvalProtocol:
    """How images were evaluated: scores are comparable only if all of it is equal."""

    n: int
    """Number of images evaluated."""
    feature_extractor: str
    """The feature network."""
    extractor_sha256: str
    resize: str
    """How images are resized and scaled for the feature network."""
    reference: str
    """The images that they are compared with."""
    reference_n: int
    reference_sha256: str


@dataclass(frozen=True)
class Score:
    """A score, its standard error, and the same score of held-out real images."""

    value: float
    error: float = 0.0
    dof: float = 1e9
    """Degrees of freedom of the error."""
    better: Better = ""
    held_out: float | None = None
    """The score of held-out real images under the same protocol; None without such images."""
    trials: int = 0
    """Number of images behind a score that is a proportion of them, as precision is; 0 for other scores."""

    @property
    def estimate(self) -> Estimate:
        """The value and its error."""
        return Estimate(self.value, self.error, self.dof, self.trials)


@dataclass(frozen=True)
class EvalReport:
    """The scores of a set of images; `print` shows them as a table, and so does a notebook."""

    name: str
    """The run or the file."""
    protocol: EvalProtocol
    provenance: dict[str, Any]
    """How the images were generated: weights, sampler and steps of a run, or the file they were read from."""
    scores: dict[str, Score]
    environment: dict[str, Any] = field(default_factory=dict)
    """Date, duration, machine and versions."""
    notes: tuple[str, ...] = ()
    """Which scores are missing, and why."""

    def __str__(self) -> str:
        return report_table(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(report_table(self))}</pre>"


def report_table(report: EvalReport) -> str:
    """The report as a table of text."""
    protocol, width = report.protocol, max(len(name) for name in report.scores)
    against = f"{protocol.reference_n:,}: {protocol.reference}, {protocol.reference_sha256[:12]}"
    has_held_out = any(score.held_out is not None for score in report.scores.values())
    lines = [
        f"{report.name}: {describe(report)}",
        f"{protocol.n:,} images against {against}",
        f"features: {protocol.feature_extractor} ({protocol.extractor_sha256[:12]}), {protocol.resize}",
        "",
        f"  {'':{width}}  {'score':>9}  {'95% interval':>19}{'  held-out real' if has_held_out else ''}",
    ]
    lines += [_line(name.ljust(width), score) for name, score in report.scores.items()]
    return "\n".join([*lines, *(["", *report.notes] if report.notes else [])])


def _line(name: str, score: Score) -> str:
    low, high = score.estimate.interval
    interval = f"{format_number(low)} .. {format_number(high)}" if score.error else ""
    held_out = f"  {format_number(score.held_out):>13}" if score.held_out is not None else " " * 15
    direction = f"  {score.better} is better" if score.better else ""
    return f"  {name}  {format_number(score.value):>9}  {interval:>19}{held_out}{direction}".rstrip()


def format_number(value: float) -> str:
    """A number with four significant digits."""
    return f"{value:#.4g}".rstrip(".") if abs(value) < 1e5 else f"{value:,.0f}"


def describe(report: EvalReport) -> str:
    """The provenance of a report in one line."""
    return ", ".join(f"{name} {value}" for name, value in report.provenance.items() if not isinstance(value, dict))
