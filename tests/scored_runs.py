"""Runs of random weights with scores, for the view Compare."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from random_models import EPS, saved_model

from limpid.data import Digits
from limpid.data.augment import Augment
from limpid.evaluation.report import EvalProtocol, EvalReport, Score
from limpid.evaluation.report_file import add_report

RECIPE = replace(EPS, data=Digits(size=8), augment=Augment(flip=0.5))
PROTOCOL = EvalProtocol(1000, "a network", "ab" * 32, "none", "Digits train", 1797, "cd" * 32)


def write_run(folder: Path, fd: float | None, **protocol: Any) -> str:
    """A run of random weights, with scores unless `fd` is None."""
    file = Path(saved_model(folder, RECIPE, (1, 8, 8)))
    file.rename(file.with_name("000000000000.safetensors"))
    scores = {
        "FD": Score(fd or 0.0, 0.5, 19.0, "less"),
        "recall": Score(0.6, 0.01, better="more"),
        "density": Score(1.0),
    }
    if fd is not None:
        report = EvalReport(str(folder), replace(PROTOCOL, **protocol), {"steps": 10}, scores)
        add_report(report, folder / "scores.json")
    return str(folder)
