"""A run that is scored while it trains."""

import errno
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import torch
from tiny_recipes import CPU, TINY

from limpid.data.images import ImageDataset
from limpid.evaluation.online import OnlineScorer, check_online_scoring
from limpid.sampling.pipeline import Pipeline, load
from limpid.storage import checkpoint, jsonl
from limpid.training.run import run
from limpid.viz import show

pytestmark = pytest.mark.usefixtures("no_final_figures")
SCORED = replace(TINY, every=replace(TINY.every, log=32, score=16, score_images=20, save=32))
NAME = "FD-CIFAR@20"


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPID_DATA", str(shared_cache))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    place = tmp_path_factory.mktemp("gauged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMPID_DATA", str(shared_cache))
        assert run(SCORED, place, CPU)
    return place


def scores(folder: Path) -> dict[int, float]:
    return {line["images_seen"]: line[NAME] for line in jsonl.read_jsonl(folder / "log.jsonl") if NAME in line}


def test_the_log_has_a_score_named_by_its_number_of_images(folder: Path):
    assert list(scores(folder)) == [16, 32, 48, 64]


def test_the_last_score_is_that_of_the_weights_at_the_end(folder: Path):
    assert OnlineScorer(SCORED, 20).measure(load(folder, runtime=CPU)) == scores(folder)[64]


def test_the_best_checkpoint_is_saved(folder: Path):
    (best,) = checkpoint.list_checkpoints(folder / "best")
    found = scores(folder)
    assert int(best.stem) == min(found, key=found.__getitem__)
    assert load(best, runtime=CPU).images_seen == int(best.stem)


def test_scoring_changes_no_bit_of_the_run(folder: Path, tmp_path: Path):
    assert run(replace(SCORED, every=replace(SCORED.every, score=0)), tmp_path, CPU)
    one, other = (checkpoint.read_tensors(checkpoint.latest(place / "checkpoints")) for place in (folder, tmp_path))  # pyright: ignore[reportArgumentType]
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_goes_on_has_the_same_scores(folder: Path, tmp_path: Path):
    """Resume at image 32, whose score is missing as if the run was stopped there."""
    copytree(folder, tmp_path, dirs_exist_ok=True)
    checkpoint.list_checkpoints(tmp_path / "checkpoints")[-1].unlink()
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_text(
        "".join(line for line in lines if NAME not in line or '"images_seen": 16' in line)
    )
    assert list(scores(tmp_path)) == [16]
    assert run(SCORED, tmp_path, CPU)
    assert scores(tmp_path) == scores(folder)


def best_line(place: Path, seen: int) -> None:
    """Make the score after so many images the best of the log, as if the run was killed before it had saved it."""
    log = place / "log.jsonl"
    lines = [
        line | {NAME: 0.001} if NAME in line and line["images_seen"] == seen else line for line in jsonl.read_jsonl(log)
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("before", ["another", "none"])
def test_best_is_made_from_the_log_when_a_run_goes_on(before: str, folder: Path, tmp_path: Path):
    copytree(folder, tmp_path, dirs_exist_ok=True)
    best = tmp_path / "best" / "000000000064.safetensors"
    for file in checkpoint.list_checkpoints(tmp_path / "best"):
        file.rename(file.with_name("000000000016.safetensors")) if before == "another" else file.unlink()
    best_line(tmp_path, 64)
    assert run(SCORED, tmp_path, CPU)
    assert checkpoint.list_checkpoints(tmp_path / "best") == [best]
    assert best.read_bytes() == (tmp_path / "checkpoints" / best.name).read_bytes()


def test_a_missing_best_checkpoint_causes_a_warning(folder: Path, tmp_path: Path, capsys):
    copytree(folder, tmp_path, dirs_exist_ok=True)
    best_line(tmp_path, 16)
    rmtree(tmp_path / "best")
    assert run(SCORED, tmp_path, CPU)
    assert "lacks the checkpoint that scored best, of which none is left" in capsys.readouterr().err


def test_best_is_right_after_a_kill_or_a_refusal_of_the_disk_as_it_is_saved(folder: Path, tmp_path: Path, monkeypatch):
    save = checkpoint.save_checkpoint
    for number, error in enumerate((SystemExit(), OSError(errno.ENOSPC, "No space left on device"))):
        place = tmp_path / str(number)

        def refuse(where: Path, seen: int, *given, error=error, **more) -> Path:
            if where.name == "best" and seen <= 32:
                raise error
            return save(where, seen, *given, **more)

        with monkeypatch.context() as patch, suppress(SystemExit):
            patch.setattr(checkpoint, "save_checkpoint", refuse)
            run(SCORED, place, CPU)
        assert run(SCORED, place, CPU)
        assert scores(place) == scores(folder)
        names = [file.name for file in checkpoint.list_checkpoints(folder / "best")]
        assert [file.name for file in checkpoint.list_checkpoints(place / "best")] == names


def test_the_scores_are_plotted_beside_the_loss(folder: Path, tmp_path: Path):
    assert show.loss(folder, tmp_path / "loss.png").exists()


def identical_samples(pipeline: Pipeline, seeds: range, *_: Any, **__: Any) -> list[torch.Tensor]:
    return [torch.full((len(seeds), *pipeline.image_shape), 200, dtype=torch.uint8)]


def test_identical_samples_have_a_finite_score_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(Pipeline, "sample_batches", identical_samples)
    assert run(SCORED, tmp_path / "run", CPU)
    assert set(scores(tmp_path / "run")) == {16, 32, 48, 64}
    assert len(set(scores(tmp_path / "run").values())) == 1
    assert 0 < scores(tmp_path / "run")[64] < 1000
    assert "limpid: all 20 samples of the online evaluation are identical, after 64 images" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_what_cannot_be_scored_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[Exception]
):
    def fails(*_: Any) -> float:
        raise error("no features today")

    monkeypatch.setattr(OnlineScorer, "measure", fails)
    assert run(replace(SCORED, every=replace(SCORED.every, score=64)), tmp_path, CPU)
    assert "limpid: cannot write a score (no features today); training continues" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("channels", "n", "score_images", "message"),
    [
        (2, 9, 20, "images of 2 channels: the feature network takes 1 or 3 or 4 channels; leave out --every.score"),
        (3, 9, 1, "--every.score-images 1: expected at least 2 images"),
        (3, 1, 20, "1 training image: expected at least 2 to compare with"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_a_run(channels: int, n: int, score_images: int, message: str):
    images = ImageDataset(torch.zeros(n, channels, 8, 8, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64))
    recipe = replace(SCORED, every=replace(SCORED.every, score_images=score_images))
    with pytest.raises(ValueError, match=message):
        check_online_scoring(recipe, images)
    check_online_scoring(replace(recipe, every=replace(recipe.every, score=0)), images)


def test_a_run_is_not_begun_whose_scores_would_fail(tmp_path: Path):
    with pytest.raises(ValueError, match=r"--every\.score-images 1: expected at least 2 images"):
        run(replace(SCORED, every=replace(SCORED.every, score_images=1)), tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_what_can_be_scored_is_let_pass(channels: int):
    check_online_scoring(
        SCORED, ImageDataset(torch.zeros(2, channels, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    )
