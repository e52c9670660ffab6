"""Links in the folder of somebody else: no file elsewhere is changed or made."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_recipes import CPU, TINY

from limpid.sampling.checkpoints import output_folder
from limpid.storage import jsonl
from limpid.storage.atomic import durable_write
from limpid.storage.lock import exclusive, waiting_lock
from limpid.storage.regular_files import open_unlinked
from limpid.training.run import run

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes are those of Unix"),
    pytest.mark.usefixtures("time_limit"),
]
SECRET = b"a file elsewhere\n"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "file"
    file.parent.mkdir()
    file.write_bytes(SECRET)
    return file


def take_lock(path: Path) -> None:
    with exclusive(path.parent):
        pass


def wait_for_lock(path: Path) -> None:
    with waiting_lock(path):
        pass


def write_durably(path: Path) -> None:
    with durable_write(path.with_suffix("")) as part:
        part.write_bytes(b"new")


WRITERS: dict[str, Callable[[Path], object]] = {
    "lock": take_lock,
    "scores.json.lock": wait_for_lock,
    "log.jsonl": lambda path: jsonl.append(path, b"a line\n"),
    "recipe.json.part": write_durably,
}


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_through_a_link(name: str, link: Callable[..., None], elsewhere: Path, tmp_path: Path):
    path = tmp_path / "run" / name
    path.parent.mkdir()
    link(elsewhere, path)
    if name.endswith(".part"):
        WRITERS[name](path)
        assert path.with_suffix("").read_bytes() == b"new"
    else:
        with pytest.raises(ValueError, match=r"link: nothing is written through one, remove it"):
            WRITERS[name](path)
    assert elsewhere.read_bytes() == SECRET


def test_a_broken_link_makes_no_file_at_its_target(tmp_path: Path):
    for name in ("lock", "log.jsonl"):
        (tmp_path / name).symlink_to(tmp_path / "none")
        with pytest.raises(ValueError, match="is a link"):
            WRITERS[name](tmp_path / name)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("inner", ["drawn", "checkpoints", "samples", "snapshots/0.050"])
def test_a_folder_in_a_run_that_is_a_link_is_refused_and_the_run_itself_may_be_one(
    inner: str, elsewhere: Path, tmp_path: Path
):
    folder = tmp_path / "run"
    (folder / inner).parent.mkdir(parents=True)
    (folder / inner).symlink_to(elsewhere.parent)
    for use in (lambda: run(TINY, folder, CPU), lambda: output_folder(folder)):
        with pytest.raises(ValueError, match=rf"{inner} is a link to a folder: nothing is written through one"):
            use()
    assert os.listdir(elsewhere.parent) == ["file"]
    (folder / inner).unlink()
    (tmp_path / "another").symlink_to(folder)
    assert output_folder(tmp_path / "another") == tmp_path / "another"


def test_outputs_go_to_the_run_of_a_checkpoint_or_beside_a_file_without_run(elsewhere: Path, tmp_path: Path):
    (tmp_path / "a link of somebody").symlink_to(elsewhere.parent)
    run_folder = tmp_path / "run"
    for inner in ("checkpoints", "best"):
        assert output_folder(run_folder / inner / "000000000016.safetensors") == run_folder
    assert output_folder(tmp_path / "downloads" / "network.safetensors") == tmp_path / "downloads" / "network"
    assert output_folder(tmp_path / "network.safetensors") == tmp_path / "network"


def test_a_file_that_is_written_in_place_is_made_if_it_is_not_there(tmp_path: Path):
    for _ in range(2):
        os.close(open_unlinked(tmp_path / "file", os.O_WRONLY))
    assert (tmp_path / "file").read_bytes() == b""
