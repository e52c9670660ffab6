"""Scores with all that decides them: kept in a file, shown as a table, compared with their like and nothing else."""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from limpid.metrics.estimate import Estimate
from limpid.recipes.serialize import ABBREVIATE, MAX_INT, from_dict
from limpid.storage.atomic import atomic_write
from limpid.storage.lock import waiting_lock
from limpid.storage.regular_files import read_bytes
from limpid.storage.renamed import with_new_kinds, with_new_names

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
    trials: int = 0
    """Number of images behind a score that is a proportion of them, as precision is; 0 for other scores."""

    @property
    def estimate(self) -> Estimate:
        """The number and its error, to reckon with."""
        return Estimate(self.value, self.error, self.dof, self.trials)


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


def add_report(report: EvalReport, path: Path) -> Path:
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


def _key(report: EvalReport) -> tuple[str, EvalProtocol, dict[str, Any]]:
    return report.name, report.protocol, report.provenance


def _plain(report: EvalReport) -> dict[str, Any]:
    plain = asdict(report)
    for name, score in report.scores.items():
        plain["scores"][name]["interval"] = list(score.estimate.interval)
    return plain


def _report(plain: Any) -> EvalReport:
    """The report that `_plain` made plain. Raises ValueError, KeyError, TypeError or AttributeError for another."""
    plain = with_new_names("EvalReport", _table(plain, "a report"))
    parts = plain | {
        "provenance": _provenance(_table(plain["provenance"], "the provenance")),
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


def _table(plain: Any, what: str) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise ValueError(f"{what} is {ABBREVIATE.repr(plain)}: expected a table")
    return plain


def _provenance(plain: dict[str, Any]) -> dict[str, Any]:
    """The provenance with the sampling as this version writes it, whose guidance scale stands beside it too."""
    if not isinstance(sampling := with_new_kinds(plain.get("sampling")), dict):
        return plain
    guidance = sampling.get("guidance")
    scale = guidance.get("scale") if isinstance(guidance, dict) else None
    return plain | {"sampling": sampling} | ({} if scale is None else {"guidance": scale})


def _score(plain: Any, name: str) -> Score:
    plain, known = with_new_names("Score", _table(plain, name)), {spec.name for spec in fields(Score)}
    given = {key: value for key, value in plain.items() if key in known}
    for key, value in given.items():
        number = isinstance(value, float) or (type(value) is int and abs(value) < MAX_INT)  # also NaN
        if not (value in get_args(Better) if key == "better" else number or (key == "held_out" and value is None)):
            raise ValueError(f"the {key} of {name} is {ABBREVIATE.repr(value)}")
    score = Score(**given)
    if score.trials and not (type(score.trials) is int and score.trials > 0 and 0 <= score.value <= 1):
        raise ValueError(f"{name} is {score.value} of {ABBREVIATE.repr(score.trials)} trials: expected a proportion")
    return score
