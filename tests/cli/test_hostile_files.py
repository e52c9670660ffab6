"""Files of somebody else that would be waited for or read without end: each is refused, and bounded."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_recipes import CPU

from limpid.data import Cifar10, Folder
from limpid.diffusion.schedules import Cosine, LinearBeta, ScaledLinearBeta, Schedule, ZeroTerminalSnr, sampling_levels
from limpid.evaluation import report_file
from limpid.metrics import stats_file
from limpid.metrics.extractors import inception_weights
from limpid.recipes.registry import find_recipe
from limpid.sampling.pipeline import load
from limpid.storage import jsonl
from limpid.storage.chunk_cache import cached_chunk
from limpid.storage.lock import exclusive
from limpid.storage.regular_files import read_bytes
from limpid.training.run_folder import previous_environment
from limpid.viz.text import extent

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes are those of Unix"),
    pytest.mark.usefixtures("time_limit"),
]


def take_lock(path: Path) -> None:
    with exclusive(path.parent):
        pass


READERS: dict[str, Callable[[Path], object]] = {
    "recipe.toml": lambda path: find_recipe(str(path)),
    "recipe.json": lambda path: find_recipe(str(path)),
    "environment.json": lambda path: previous_environment(path.parent),
    "log.jsonl": jsonl.read_jsonl,
    "another.jsonl": lambda path: jsonl.append(path, b"a line\n"),
    "lock": take_lock,
    "scores.json": report_file.load_reports,
    "000000000016.safetensors": lambda path: load(path, runtime=CPU),
    "statistics.npz": stats_file.load_stats,
    "weights.pth": inception_weights.load_inception,
    "images.npz": lambda path: Folder(str(path)).open("cpu"),
    "images.zip": lambda path: Folder(str(path)).open("cpu"),
    "images": lambda path: Folder(str(path)).open("cpu"),
    "cifar-10-python.tar.gz": lambda path: Cifar10(root=str(path)).open("cpu"),
}


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
@pytest.mark.parametrize("name", READERS)
def test_only_regular_files_are_opened(name: str, kind: str, tmp_path: Path):
    path = tmp_path / name
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises((ValueError, IsADirectoryError)) as error:
        READERS[name](path)
    assert "\n" not in str(error.value)


def test_a_cached_chunk_that_is_a_pipe_is_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    os.mkfifo(tmp_path / "00000000-00000002.safetensors")
    made = cached_chunk(tmp_path, range(2), lambda numbers: {"x": torch.ones(len(numbers))})
    assert torch.equal(made["x"], torch.ones(2))
    assert "is a pipe: expected a file" in capsys.readouterr().err


def test_a_file_longer_than_it_may_be_is_not_read_to_its_end(tmp_path: Path):
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="is longer than 100 bytes"):
        read_bytes(tmp_path / "file", 100)
    with pytest.raises(ValueError, match=r"is longer than 1,048,576 bytes"):
        environment_of_file(tmp_path / "file")


def environment_of_file(file: Path) -> None:
    file.rename(file.with_name("environment.json"))
    previous_environment(file.parent)


def test_statistics_that_claim_more_than_any_has_are_not_unpacked(tmp_path: Path):
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("mu.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(9):
            file.write(bytes(2**26))
    with pytest.raises(ValueError, match=r"mu\.npy is longer than"):
        stats_file.load_stats(path)


@pytest.mark.parametrize("name", ["a" * 65_000 + "/0.png", "a/" * 32_500 + "0.png", "a" * 256 + "/0.png"])
def test_a_zip_with_names_that_no_file_has_is_refused(name: str, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for part in range(3):
            archive.writestr(f"{part}{name}", b"")
    with pytest.raises(ValueError, match="is longer than a file's can be") as error:
        Folder(str(tmp_path / "images.zip")).open("cpu")
    assert len(str(error.value)) < 500


def test_a_sheet_does_not_grow_with_what_its_labels_hold():
    width, height = extent(["a" * 10**6, "\n" * 10**5, "猫" * 200], 13)
    assert (width, height) < (4000, 100)


@pytest.mark.parametrize("schedule", [LinearBeta, ScaledLinearBeta, Cosine, lambda T: ZeroTerminalSnr(LinearBeta(T))])
@pytest.mark.parametrize("T", [0, -1, 10**6 + 1, 10**18])
def test_steps_are_bounded_before_memory_is_taken_for_them(schedule: Callable[[int], Schedule], T: int):
    with pytest.raises(ValueError, match=r"expected 1 to 1,000,000 steps"):
        schedule(T)
    if T > 1:
        with pytest.raises(ValueError, match=r"sampling steps \d+: expected 1 to 1,000,000 steps"):
            sampling_levels(Cosine(), T)
