"""Data that moved is the same data: a run resumes with it to the bit, and other data is refused with the difference."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_recipes import CPU, FULL

from limpid.cli.main import main
from limpid.data import Cifar10, Digits, Fingerprint, Folder
from limpid.diffusion.guidance import Guidance
from limpid.recipes.recipe import Recipe
from limpid.sampling.checkpoints import find_checkpoint, load_info
from limpid.storage import checkpoint
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def write_images(folder: Path, count: int = 40) -> Path:
    """Grey images of 8x8 in folders of two classes."""
    for number in range(count):
        path = folder / ("cat", "dog")[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def recipe_on(root: Path, images: int = 64, workers: int = 0) -> Recipe:
    data = Folder(str(root), size=8, channels="L", held_out=0.4, workers=workers)
    constant = replace(FULL.optimizer, lr_schedule="none")
    sampling = replace(FULL.sampling, steps=2, guidance=Guidance())
    return replace(FULL, duration=images, data=data, optimizer=constant, sampling=sampling)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    file = checkpoint.latest(folder / "checkpoints")
    assert file is not None
    return checkpoint.read_tensors(file)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "kept"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def moved(tmp_path: Path) -> tuple[Path, Path]:
    """A run of 64 images on data that has been moved since, and where the data is now."""
    images = write_images(tmp_path / "images")
    assert run(recipe_on(images), tmp_path / "run", CPU)
    return tmp_path / "run", images.rename(tmp_path / "elsewhere")


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_fingerprint_is_the_same_wherever_the_images_are(form: str, tmp_path: Path):
    images = write_images(tmp_path / "images")
    places = [images, Path(shutil.copytree(images, tmp_path / "copy"))]
    if form == "zip":
        places = [Path(shutil.make_archive(str(tmp_path / place.name), "zip", place)) for place in places]
    found = {
        Folder(str(place), size=8, workers=workers).open("cpu").fingerprint for place in places for workers in (0, 1)
    }
    assert len(found) == 1
    assert found.pop().images == 40


def test_two_fingerprints_state_what_has_changed(tmp_path: Path):
    images = write_images(tmp_path / "images")

    def found() -> Fingerprint:
        return Folder(str(images), size=8).open("cpu").fingerprint

    before = found()
    assert before.differences(before) == []
    (images / "cat" / "000.png").rename(images / "cat" / "zero.png")
    assert before.differences(found()) == ["other names"]  # all of them are of one size
    (images / "cat" / "zero.png").rename(images / "cat" / "000.png")
    Image.new("L", (64, 64)).save(images / "cat" / "000.png")
    assert before.differences(found()) == ["other content or sizes"]
    (images / "cat" / "000.png").unlink()
    assert before.differences(found()) == ["39 images for 40", "other names", "other content or sizes"]
    assert Fingerprint().differences(before) == before.differences(Fingerprint()) == []


def test_arrays_are_distinguished_by_content_and_not_by_name(tmp_path: Path):
    pixels, labels = np.zeros((30, 8, 8, 1), np.uint8), np.arange(30) % 3

    def found(name: str, pixels: np.ndarray, labels: np.ndarray) -> Fingerprint:
        np.savez(tmp_path / name, images=pixels, labels=labels)
        return Folder(str(tmp_path / name), size=8, channels="L", split="all").open("cpu").fingerprint

    first = found("a.npz", pixels, labels)
    assert first == found("b.npz", pixels, labels)
    assert first.differences(found("c.npz", pixels + 1, labels)) == ["other content or sizes"]
    assert first.differences(found("c.npz", pixels, labels[::-1].copy())) == ["other content or sizes"]


def test_published_sets_have_a_fingerprint_whatever_their_size_and_form(cifar_root: Path):
    assert len({Digits(size).open("cpu").fingerprint for size in (8, 16)}) == 1
    found = {
        Cifar10(size, split="test", root=str(cifar_root), workers=workers).open("cpu").fingerprint
        for size, workers in ((32, 0), (16, 0), (32, 1))
    }
    assert len(found) == 1
    assert found.pop().images == 10_000


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_goes_on_to_the_bit_with_data_that_was_moved(moved: tuple[Path, Path], workers: int, tmp_path: Path):
    folder, root = moved
    assert run(recipe_on(root, 128, workers), folder, CPU)
    assert run(recipe_on(write_images(tmp_path / "images"), 128), tmp_path / "straight", CPU)
    straight, resumed = weights(tmp_path / "straight"), weights(folder)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert run(recipe_on(root, 160), folder, CPU)  # it is at the new place from now on


def test_every_command_takes_the_new_path_of_moved_data(moved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    folder, root = moved
    commands = {
        "train": ["--images", "96"],
        "evaluate": ["--n", "40"],
        "likelihood": ["--n", "4", "--num-levels", "2", "--steps", "4"],
        "edit img2img": ["--images", "0", "--strengths", "0.5", "--steps", "2", "--labels", "cat"],
    }
    for command, options in commands.items():
        device = [] if command == "edit img2img" else ["--device", "cpu", "--precision", "float32"]
        words = [*command.split(), str(folder), *options, *device]
        assert main(words) == 2, command
        output = capsys.readouterr().err
        assert "if it was moved, give its new path with --data.root" in output
        assert output.count("\n") == 1
    for command, options in reversed(commands.items()):
        device = [] if command == "edit img2img" else ["--device", "cpu", "--precision", "float32"]
        assert main([*command.split(), str(folder), *options, *device, "--data.root", str(root)]) == 0, command


def test_other_images_are_refused_by_every_command(moved: tuple[Path, Path], tmp_path: Path, capsys):
    folder, root = moved
    Image.new("L", (64, 64)).save(root / "cat" / "new.png")
    for command in ("train", "evaluate", "likelihood", "edit img2img"):
        assert main([*command.split(), str(folder), "--data.root", str(root)]) == 2, command
        output = capsys.readouterr().err.splitlines()[-1]
        assert f"{folder} was trained on other data than this (41 images for 40, other names" in output
    assert [int(path.stem) for path in checkpoint.list_checkpoints(folder / "checkpoints")][-1] == 64


def test_data_of_an_older_checkpoint_is_found_by_its_path_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = write_images(tmp_path / "images")
    with monkeypatch.context() as patch:
        patch.setattr("limpid.data.readers.file_listing.fingerprint_of_files", lambda files: Fingerprint())
        assert run(recipe_on(images), tmp_path / "run", CPU)
    file = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert file is not None
    data = checkpoint.read_data(file)
    del data["data"]
    checkpoint.save_checkpoint(file.parent, 64, checkpoint.read_tensors(file), data)
    assert load_info(file).data == Fingerprint()
    elsewhere = shutil.copytree(images, tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"images, and this data is at .*elsewhere: the run has no fingerprint"):
        run(recipe_on(elsewhere, 96), tmp_path / "run", CPU)
    assert run(recipe_on(images, 96, workers=1), tmp_path / "run", CPU)
    assert find_checkpoint(tmp_path / "run").about.data.images == 40


def test_limpid_data_stands_for_a_root(cifar_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = replace(
        FULL,
        duration=16,
        data=Cifar10(size=8, split="test", root=str(cifar_root)),
        optimizer=replace(FULL.optimizer, lr_schedule="none"),
        sampling=replace(FULL.sampling, steps=2),
    )
    assert run(recipe, tmp_path / "run", CPU)
    monkeypatch.setenv("LIMPID_DATA", str(cifar_root))
    assert run(replace(recipe, duration=32, data=Cifar10(size=8, split="test")), tmp_path / "run", CPU)


def test_data_that_comes_with_limpid_has_no_path(tmp_path: Path, capsys):
    assert run(replace(FULL, duration=32), tmp_path / "run", CPU)
    assert main(["evaluate", str(tmp_path / "run"), "--data.root", str(tmp_path)]) == 2
    assert "Digits come with limpid, and have no path" in capsys.readouterr().err
