"""A run with broken, foreign or unreadable checkpoints is resumed from an intact one, or refused."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from run_faults import stop_at
from run_results import checkpoint_images, newest_checkpoint, same_run, same_weights
from tiny_recipes import CPU, SHORT

from limpid.cli.main import main
from limpid.recipes.recipe import Recipe
from limpid.sampling.pipeline import load
from limpid.storage import checkpoint
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "folder"])
def test_a_broken_checkpoint_is_named_and_the_previous_one_is_used(
    damage: str, stopped: Path, uninterrupted: Path, capsys
):
    newest = stopped / "checkpoints" / "000000000096.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.unlink()
    if damage == "folder":
        newest.mkdir()
    else:
        newest.write_bytes({"cut": content[:-100], "flipped": content, "foreign": b"PK" + bytes(200)}[damage])
    capsys.readouterr()
    assert run(SHORT, stopped, CPU)
    out, error = capsys.readouterr()
    assert error.count("\n") == 1
    assert f"{newest} is not an intact checkpoint of limpid" in error
    assert "resuming after 64 images" in out
    assert newest.with_suffix(".broken").exists()
    assert same_run(stopped, uninterrupted)


def add_renamed_checkpoint(stopped: Path) -> None:
    oldest = stopped / "checkpoints" / "000000000064.safetensors"
    shutil.copy(oldest, oldest.with_name("000000009999.safetensors"))


def add_foreign_checkpoint(stopped: Path, recipe: Recipe) -> None:
    """Add the checkpoint after 112 images of a run of this recipe."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(112, patch)
        logged_often = replace(recipe, every=replace(recipe.every, log=16, save=0))
        assert not run(logged_often, stopped / "other", CPU)
    newest = newest_checkpoint(stopped / "other")
    newest.rename(stopped / "checkpoints" / newest.name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (add_renamed_checkpoint, "000000009999.safetensors was renamed: it was saved after 64 images"),
        (
            lambda folder: add_foreign_checkpoint(folder, replace(SHORT, seed=1)),
            "000000000112.safetensors is of a run of another recipe (seed 1 -> 0)",
        ),
        (
            lambda folder: add_foreign_checkpoint(folder, replace(SHORT, duration=256)),
            "000000000112.safetensors is of run ",
        ),
    ],
    ids=["renamed", "another recipe", "a longer run of the same recipe"],
)
def test_a_checkpoint_of_another_run_is_named_and_set_aside(
    damage: Callable[[Path], None], message: str, stopped: Path, uninterrupted: Path, capsys
):
    damage(stopped)
    capsys.readouterr()
    assert run(SHORT, stopped, CPU)
    out, error = capsys.readouterr()
    assert error.count("\n") == 1
    assert message in error
    assert "resuming after 96 images" in out
    assert len(list((stopped / "checkpoints").glob("*.aside"))) == 1
    assert same_run(stopped, uninterrupted)


def test_a_folder_without_its_recipe_belongs_to_the_run_of_its_checkpoints(stopped: Path, uninterrupted: Path):
    recipe = stopped / "recipe.json"
    recipe.unlink()
    with pytest.raises(ValueError, match=r"000000000096.safetensors is of a run of another recipe \(seed 0 -> 1\)"):
        run(replace(SHORT, seed=1), stopped, CPU)
    assert not recipe.exists()
    assert checkpoint_images(stopped) == [64, 96]
    assert run(SHORT, stopped, CPU)
    assert same_weights(stopped, uninterrupted)


def test_an_extended_run_keeps_its_id(tmp_path: Path):
    for images in (64, 128):
        assert run(replace(SHORT, duration=images), tmp_path, CPU, allow_rewarm=True)
    files = checkpoint.list_checkpoints(tmp_path / "checkpoints")
    assert len({checkpoint.read_data(file)["run_id"] for file in files}) == 1


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_checkpoint_that_cannot_be_read_for_a_moment_is_not_changed(
    number: int, stopped: Path, uninterrupted: Path, monkeypatch
):
    newest = stopped / "checkpoints" / "000000000096.safetensors"

    def refuse(path: Path, *_: int) -> None:
        raise OSError(number, os.strerror(number), str(path))

    before = {path: path.read_bytes() for path in sorted(stopped.rglob("*")) if path.is_file() and path.name != "lock"}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_verify", refuse)
        with pytest.raises(OSError, match=f"cannot read {newest}, which may be intact") as error:
            run(SHORT, stopped, CPU)
    assert error.value.errno == number
    assert before == {path: path.read_bytes() for path in before}
    assert list(stopped.rglob("*.broken")) == []
    assert run(SHORT, stopped, CPU)
    assert same_weights(stopped, uninterrupted)


def test_a_run_whose_checkpoints_are_all_broken_is_not_started_again(stopped: Path):
    for file in checkpoint.list_checkpoints(stopped / "checkpoints"):
        file.write_bytes(b"")
    before = (stopped / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match="there is no older one to resume from: move them away to start anew"):
        run(SHORT, stopped, CPU)
    assert (stopped / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "command", [["sample"], ["likelihood"], ["edit", "img2img"], ["show", "trajectory"]], ids=lambda words: words[0]
)
def test_a_command_on_a_broken_checkpoint_is_refused_in_one_line(command: list[str], stopped: Path, capsys):
    for file in checkpoint.list_checkpoints(stopped / "checkpoints"):
        file.write_bytes(file.read_bytes()[:-1])
    capsys.readouterr()
    assert main([*command, str(stopped)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "000000000096.safetensors is not an intact checkpoint of limpid: its checksum differs" in error


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "its data needs its field "),
        ({"images_seen": "many"}, "its data.images_seen is 'many': expected a whole number"),
        ({"shape": [1, 8]}, r"its data.image_shape is \[1, 8\]: expected 3 values"),
        ({"names": 3}, "its data.class_names is 3: expected a list"),
        ({"recipe": {"batch": None}}, "its data.recipe.batch_size is None"),
        ({"recipe": {"network": {"attention": [3]}}}, "no feature map has resolution 3"),
        ({"recipe": {"network": {"attention": [], "width": 1 << 20}}}, "does not fit: .* not those of its recipe"),
    ],
)
def test_a_checkpoint_with_invalid_metadata_is_refused_in_one_line(
    data: dict, message: str, uninterrupted: Path, tmp_path: Path
):
    file = newest_checkpoint(uninterrupted)
    changed = checkpoint.read_data(file) | data if data else {}
    invalid = checkpoint.save_checkpoint(tmp_path, 1, checkpoint.read_tensors(file), changed)
    with pytest.raises(ValueError, match=message) as error:
        load(invalid, runtime=CPU)
    assert str(invalid) in str(error.value)
    assert "\n" not in str(error.value)


def test_partial_files_of_a_killed_run_are_removed(stopped: Path):
    partial = [stopped / "checkpoints" / "000000000128.safetensors.part", stopped / "samples" / "000000000080.png.part"]
    foreign = stopped / "film.part"
    for path in (*partial, foreign):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    run(SHORT, stopped, CPU)
    assert not any(path.exists() for path in partial)
    assert foreign.exists()


def test_milestone_checkpoints_are_not_deleted(tmp_path: Path):
    run(replace(SHORT, every=replace(SHORT.every, save=16, milestone=48)), tmp_path, CPU)
    assert checkpoint_images(tmp_path) == [48, 96, 112, 128]
