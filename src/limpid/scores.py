"""Scores with all that decides them: kept in a file, shown as a table, compared with their like and nothing else."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from limpid.learning.lock import waiting_lock
from limpid.metrics.interval import Estimate, difference
from limpid.plain import ABBREVIATE, MAX_INT, from_dict
from limpid.regular import read_bytes
from limpid.renamed import with_new_names
from limpid.whole import atomic_write

LONGEST = 1 << 28
"""Bytes of the longest file of scores that is read."""

Better = Literal["less", "more", ""]


@dataclass(frozen=True)
class EvalProtocol:
    """What decides a score besides what is scored: scores compare only where all of it is the same."""

    n: int
    """Pictures that were scored."""
    feature_extractor: str
    """The feature network."""
    extractor_sha256: str
    resize: str
    """How pictures came to the size and range the network takes."""
    reference: str
    """The pictures they were compared with."""
    reference_n: int
    reference_sha256: str


@dataclass(frozen=True)
class Score:
    """A measured number, its standard error, and the same number for real pictures that nobody trained on."""

    value: float
    error: float = 0.0
    dof: float = 1e9
    """Degrees of freedom of the error."""
    better: Better = ""
    held_out: float | None = None
    """What real held-out pictures score under the same protocol; none where there are none."""

    @property
    def estimate(self) -> Estimate:
        """The number and its error, to reckon with."""
        return Estimate(self.value, self.error, self.dof)


@dataclass(frozen=True)
class EvalReport:
    """The scores of one set of pictures, what they are of, and how they were measured."""

    name: str
    protocol: EvalProtocol
    provenance: dict[str, Any]
    """How the pictures came about: weights, sampler and steps of a run, or the file they were read from."""
    scores: dict[str, Score]
    environment: dict[str, Any] = field(default_factory=dict)
    """When, on what, by which versions and for how long."""
    notes: tuple[str, ...] = ()
    """What the scores lack, and why."""


def load_reports(path: Path) -> list[EvalReport]:
    """The reports of a run folder or a file of scores, oldest first. Raises ValueError if there are none."""
    file = path / "scores.json" if path.is_dir() else path
    if not file.exists():
        raise ValueError(f"no scores at {file}: limpid evaluate {path} writes them")
    try:
        reports = [_report(plain) for plain in json.loads(read_bytes(file, LONGEST))["reports"]]
        if not reports:
            raise ValueError("it holds none")
        return reports
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{file} is no file of scores that this version wrote ({type(error).__name__}: {error})"
        ) from error


def add(report: EvalReport, path: Path) -> Path:
    """Add a report to a file; one of the same pictures under the same protocol gives way to it.

    Who adds to it in the same moment waits, since the file is read and written anew.
    """
    with waiting_lock(path.with_name(f"{path.name}.lock")):
        before = load_reports(path) if path.exists() else []
        kept = [old for old in before if _key(old) != _key(report)]
        plain = {"reports": [_plain(each) for each in [*kept, report]]}
        with atomic_write(path) as part:
            part.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return path


def check_place(path: Path) -> None:
    """Raise ValueError if no file can be written there: asked before hours are spent on what it is to hold."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise ValueError(f"{folder} may not be written to: name a file for the scores with --out")


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


def _key(report: EvalReport) -> tuple[str, EvalProtocol, dict[str, Any]]:
    return report.name, report.protocol, report.provenance


def _plain(report: EvalReport) -> dict[str, Any]:
    plain = asdict(report)
    for name, score in report.scores.items():
        plain["scores"][name]["interval"] = list(score.estimate.interval)
    return plain


def _report(plain: dict[str, Any]) -> EvalReport:
    """The report that `_plain` made plain. Raises ValueError, KeyError, TypeError or AttributeError for another."""
    plain = with_new_names("EvalReport", plain)
    parts = plain | {
        "protocol": from_dict(EvalProtocol, plain["protocol"], "protocol"),
        "scores": {name: _score(score, name) for name, score in plain["scores"].items()},
        "notes": tuple(plain.get("notes", ())),
    }
    report = EvalReport(**parts)
    tables, words = (report.provenance, report.environment), (report.name, *report.notes)
    if not (
        report.scores and all(isinstance(table, dict) for table in tables) and all(isinstance(w, str) for w in words)
    ):
        raise ValueError("a report lacks its scores, or words where they belong")
    return report


def _score(plain: dict[str, Any], name: str) -> Score:
    plain, known = with_new_names("Score", plain), {spec.name for spec in fields(Score)}
    given = {key: value for key, value in plain.items() if key in known}
    for key, value in given.items():
        number = isinstance(value, float) or (type(value) is int and abs(value) < MAX_INT)  # also NaN
        if not (value in get_args(Better) if key == "better" else number or (key == "held_out" and value is None)):
            raise ValueError(f"the {key} of {name} is {ABBREVIATE.repr(value)}")
    return Score(**given)
