"""A run that is scored while it goes on."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch
from tiny import CPU, TINY

from limpid import show
from limpid.gauge import Gauge
from limpid.learning import checkpoint, runlog
from limpid.run import run
from limpid.sample import load

SCORED = replace(TINY, every=replace(TINY.every, log=32, score=16, scored=20, save=32))
NAME = "FD-CIFAR@20"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("gauged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMPID_DATA", str(place / "cache"))
        assert run(SCORED, place, CPU)
    return place


def scores(folder: Path) -> dict[int, float]:
    return {line["seen"]: line[NAME] for line in runlog.read(folder / "log.jsonl") if NAME in line}


def test_the_log_has_a_score_named_by_its_number_of_pictures(folder: Path):
    assert list(scores(folder)) == [16, 32, 48, 64]


def test_the_last_score_is_that_of_the_weights_at_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIMPID_DATA", str(folder / "cache"))
    assert Gauge(SCORED, 20).measure(load(folder, CPU), CPU) == scores(folder)[64]


def test_the_best_checkpoint_is_kept(folder: Path):
    (best,) = checkpoint.all_in(folder / "best")
    found = scores(folder)
    assert int(best.stem) == min(found, key=found.__getitem__)
    assert load(best, CPU).seen == int(best.stem)


def test_scoring_changes_no_bit_of_the_run(folder: Path, tmp_path: Path):
    assert run(replace(SCORED, every=replace(SCORED.every, score=0)), tmp_path, CPU)
    one, other = (checkpoint.read_tensors(checkpoint.newest(place / "checkpoints")) for place in (folder, tmp_path))  # pyright: ignore[reportArgumentType]
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_goes_on_has_the_same_scores(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIMPID_DATA", str(folder / "cache"))
    """From image 32, whose score is missing as if it was asked to stop there."""
    copytree(folder, tmp_path, dirs_exist_ok=True)
    checkpoint.all_in(tmp_path / "checkpoints")[-1].unlink()
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_text("".join(line for line in lines if NAME not in line or '"seen": 16' in line))
    assert list(scores(tmp_path)) == [16]
    assert run(SCORED, tmp_path, CPU)
    assert scores(tmp_path) == scores(folder)


def test_the_curve_is_drawn_beside_the_loss(folder: Path, tmp_path: Path):
    assert show.loss(folder, tmp_path / "loss.png").exists()
