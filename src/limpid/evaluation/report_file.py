"""Files of evaluation reports: `scores.json` of a run, read with the names of earlier versions, written atomically."""

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

from limpid.evaluation.report import Better, EvalProtocol, EvalReport, Score
from limpid.recipes.serialize import ABBREVIATE, MAX_INT, from_dict
from limpid.sampling.checkpoints import is_model_name, output_folder
from limpid.storage.atomic import atomic_write
from limpid.storage.lock import waiting_lock
from limpid.storage.regular_files import read_bytes
from limpid.storage.renamed import with_new_kinds, with_new_names

MAX_REPORTS_BYTES = 1 << 28
"""Limit of the size of a file of reports."""


def load_reports(path: Path, name: Path | None = None) -> list[EvalReport]:
    """The reports of a run folder or of a file, oldest first. Raises ValueError if there are none.

    `name` is what `limpid evaluate` takes to write them, if it is not the path.
    """
    file = path / "scores.json" if path.is_dir() else path
    if not file.exists():
        raise ValueError(f"no scores at {file}: limpid evaluate {name or path} writes them")
    try:
        plain = json.loads(read_bytes(file, MAX_REPORTS_BYTES))
        reports = [_report(each) for each in plain["reports"]]
        if not reports:
            raise ValueError("it has no reports")
        return reports
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file} is no file of scores that this version can read ({reason})") from error


def reports_of(path: Path) -> list[EvalReport]:
    """The reports of a run, of one of its checkpoints only, or of a file. Raises ValueError if there are none."""
    single = path.suffix == ".safetensors"
    file = output_folder(path) / "scores.json" if single or is_model_name(path) else path
    reports = [] if single and not file.exists() else load_reports(file, path)
    of_path = [report for report in reports if report.name == str(path)]
    if single and not of_path:
        raise ValueError(f"no scores of {path}: limpid evaluate {path} writes them")
    return of_path or reports


def add_report(report: EvalReport, path: Path) -> Path:
    """Add a report to a file, in place of one with the same name, protocol and provenance.

    The file is locked meanwhile, since it is read and written again.
    """
    with waiting_lock(path.with_name(f"{path.name}.lock")):
        old_reports = load_reports(path) if path.exists() else []
        others = [old for old in old_reports if _key(old) != _key(report)]
        plain = {"reports": [_plain(each) for each in [*others, report]]}
        with atomic_write(path) as part:
            part.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return path


def check_writable(path: Path) -> None:
    """Raise ValueError if no file can be written at `path`, before its content is computed for hours."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file for the scores with --out, as in {path / 'scores.json'}")
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
    """The report of what `_plain` returned. Raises ValueError, KeyError, TypeError or AttributeError for other data."""
    plain = with_new_names("EvalReport", _table(plain, "a report"))
    names = {"provenance": _table(plain["provenance"], "the provenance"), "scores": _table(plain["scores"], "scores")}
    scores = with_new_names("EvalReport.scores", names["scores"])
    parts = plain | {
        "provenance": _provenance(with_new_names("EvalReport.provenance", names["provenance"])),
        "protocol": from_dict(EvalProtocol, plain["protocol"], "protocol"),
        "scores": {name: _score(score, name) for name, score in scores.items()},
        "notes": tuple(plain.get("notes", ())),
    }
    report = EvalReport(**parts)
    tables, texts = (report.provenance, report.environment), (report.name, *report.notes)
    if not (
        report.scores and all(isinstance(table, dict) for table in tables) and all(isinstance(t, str) for t in texts)
    ):
        raise ValueError("a report lacks its scores, or text where it belongs")
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
    plain, names = with_new_names("Score", _table(plain, name)), {spec.name for spec in fields(Score)}
    given = {key: value for key, value in plain.items() if key in names}
    for key, value in given.items():
        number = isinstance(value, float) or (type(value) is int and abs(value) < MAX_INT)  # also NaN
        if not (value in get_args(Better) if key == "better" else number or (key == "held_out" and value is None)):
            raise ValueError(f"the {key} of {name} is {ABBREVIATE.repr(value)}")
    score = Score(**given)
    if score.trials and not (type(score.trials) is int and score.trials > 0 and 0 <= score.value <= 1):
        raise ValueError(f"{name} is {score.value} of {ABBREVIATE.repr(score.trials)} trials: expected a proportion")
    return score
