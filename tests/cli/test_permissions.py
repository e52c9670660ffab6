"""Folders that may only be read, users without a home, disks that are full: a command does what it can, or says why."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
import torch
from tiny_recipes import CPU, TINY
from unprivileged import nobody

from limpid.cli.main import main
from limpid.data import Cifar10, Folder
from limpid.recipes.recipe import with_absolute_root
from limpid.runtime.errors import error_line
from limpid.storage import checkpoint
from limpid.storage.atomic import atomic_write, durable_write
from limpid.storage.download import cache_dir
from limpid.storage.lock import exclusive
from limpid.training.run import run
from limpid.viz.plot import Curve, Panel, panels

pytestmark = pytest.mark.usefixtures("no_final_figures")
QUICK = replace(TINY, duration=16, sampling=replace(TINY.sampling, steps=2), every=replace(TINY.every, log=16, save=16))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rights") / "run"
    assert run(QUICK, place, CPU)
    return place


def test_a_run_and_a_cache_that_may_only_be_read_are_evaluated_with_out(folder: Path, monkeypatch, capsys):
    words = ["--n", "40", "--steps", "2", "--device", "cpu", "--gap-images", "40"]
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        place, cache, out = (Path(scratch, name) for name in ("run", "cache", "out"))
        copytree(folder, place)
        for each in (cache, out):
            each.mkdir()
        os.chmod(out, 0o777)
        monkeypatch.setenv("LIMPID_DATA", str(cache))
        os.chmod(place, 0o555)
        os.chmod(cache, 0o555)
        before = sorted(path.name for path in place.rglob("*"))
        with nobody():
            assert main(["evaluate", str(place), *words]) == 2
            line = f"limpid: {place} may not be written to: name a file for the scores with --out\n"
            assert capsys.readouterr().err == line
            assert main(["evaluate", str(place), *words, "--out", str(out / "scores.json")]) == 0
        output = capsys.readouterr()
        assert "FD-CIFAR" in output.out
        assert f"cannot write to the cache {cache}" in output.err
        assert sorted(path.name for path in place.rglob("*")) == before
        assert "scores.json" in [path.name for path in out.iterdir()]


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom the system does not know, as in a container."""

    def unknown(*_: object) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "LIMPID_DATA", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for act in (
        cache_dir,
        lambda: Cifar10().open("cpu"),
        lambda: Folder("~/p").open("cpu"),
        lambda: with_absolute_root(replace(TINY, data=Folder("~nobodyknows/p"))),
    ):
        with pytest.raises(ValueError, match="give the full path of a folder, and of one for data in LIMPID_DATA"):
            act()
    assert main(["train", "cifar10", "--run", str(tmp_path), "--device", "cpu"]) == 2
    assert capsys.readouterr().err.startswith("limpid: cannot expand '~'")


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_trains(tmp_path: Path):
    assert run(QUICK, tmp_path, CPU)


@pytest.mark.parametrize("writer", [atomic_write, durable_write])
def test_a_full_disk_names_the_file_and_what_to_do(writer, tmp_path: Path):
    with pytest.raises(OSError, match="No space left") as error, writer(tmp_path / "recipe.json"):
        raise OSError(28, "No space left on device")
    assert error_line(error.value) == (
        f"{tmp_path / 'recipe.json'}: No space left on device; free some space there, or name another folder: "
        "nothing that was saved is lost"
    )


def test_a_run_resumed_on_a_full_disk_names_the_file_and_what_to_do(folder: Path, tmp_path, monkeypatch):
    copytree(folder, tmp_path / "run")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as error:
        run(QUICK, tmp_path / "run", CPU)
    assert error_line(error.value).startswith(
        f"{tmp_path / 'run' / 'recipe.json'}: No space left on device; free some space"
    )


def test_a_folder_is_locked_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with exclusive(tmp_path):
        assert (tmp_path / "lock").exists()


def test_an_old_checkpoint_that_cannot_be_removed_stays_and_is_named(tmp_path: Path, monkeypatch, capsys):
    tensors, unlink = {"a": torch.zeros(3)}, Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".safetensors":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    files = [checkpoint.save_checkpoint(tmp_path, seen, tensors, {}, keep=1) for seen in (16, 32)]
    assert checkpoint.latest(tmp_path) == files[1]
    assert (
        f"limpid: cannot remove {files[0]} (Operation not permitted): this does no harm to the run"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "there is not enough memory: a smaller --batch-size needs less"),
        (ValueError(), "ValueError"),
        (ValueError("one\ntwo"), "one two"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file or directory"),
        (OSError("cut off"), "cut off"),
    ],
)
def test_an_error_is_one_line_with_words(error: Exception, line: str):
    assert error_line(error) == line


def test_names_with_dollar_signs_are_printed_literally(tmp_path: Path):
    """Matplotlib reads the text between two of them as a formula, which may be invalid."""
    words = "run$^{$ $_"
    panel = Panel([Curve(words, [1, 2], [1, 2]), Curve("$", [1, 2], [2, 3])], words, words, words)
    assert panels([panel, Panel([Curve(words, [1, 2], [1, 2])], words)], tmp_path / "a.png", words).exists()
