"""Files that two processes write at the same time are complete, and the last one to finish wins."""

import os
import time
from pathlib import Path

import pytest

from limpid.storage.atomic import atomic_write, durable_write, remove_abandoned


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path):
    path = tmp_path / "scores.json"
    with atomic_write(path) as first:
        with atomic_write(path) as second:
            first.write_text("the longer text of the first")
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "the longer text of the first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_leaves_the_partial_file_of_another(tmp_path: Path):
    path = tmp_path / "scores.json"
    with atomic_write(path) as first:
        with pytest.raises(OSError, match="the disk is full"), atomic_write(path):
            raise OSError("the disk is full")
        first.write_text("first")
    assert path.read_text() == "first"


@pytest.mark.parametrize("kind", ["checkpoints/000000000128.safetensors", "samples/000000000080.png"])
def test_partial_files_have_the_name_by_which_a_run_removes_them(tmp_path: Path, kind: str):
    with atomic_write(tmp_path / kind) as part:
        part.touch()
        assert list(tmp_path.glob(f"{Path(kind).parent}/[0-9]*.part")) == [part]


def test_a_partial_file_of_over_a_day_ago_is_removed_by_the_next_writer_of_the_file(tmp_path: Path):
    forsaken, begun = tmp_path / "a.png.0123abcd.part", tmp_path / "a.png.89abcdef.part"
    others = [tmp_path / name for name in ("b.png.0123abcd.part", "film.a.png.0123abcd.part", "a.png.part", "a.part")]
    for path in (forsaken, begun, *others):
        path.touch()
    for path in (forsaken, *others):
        os.utime(path, (time.time() - 90_000, time.time() - 90_000))
    with atomic_write(tmp_path / "a.png") as part:
        part.write_text("whole")
    assert set(tmp_path.iterdir()) == {tmp_path / "a.png", begun, *others}


def test_a_partial_file_of_an_hour_ago_in_a_folder_of_limpid_is_removed(tmp_path: Path):
    """Files and folders of any name; not what is written to since, what has another name, or where a link leads."""
    pack, live = tmp_path / "pack.0123abcd.part", tmp_path / "live.0123abcd.part"
    old, link = tmp_path / "file.tar.gz.89abcdef.part", tmp_path / "link.0123abcd.part"
    others = [tmp_path / name for name in ("pack", "a.part", "a.0123.part", "a.0123abcd.part.png")]
    for folder in (pack, live, others[0]):
        folder.mkdir()
        (folder / "pixels.u8").touch()
    link.symlink_to(others[0])
    for path in (old, *others[1:]):
        path.touch()
    for path in (pack, pack / "pixels.u8", live, old, *others, link):
        os.utime(path, (time.time() - 4_000, time.time() - 4_000), follow_symlinks=False)
    remove_abandoned(tmp_path)
    assert set(tmp_path.iterdir()) == {live, *others}
    assert (others[0] / "pixels.u8").exists()
    remove_abandoned(tmp_path / "not there")


def test_a_folder_is_searched_once_however_many_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    searched, glob = [], Path.glob
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: searched.append(folder) or glob(folder, pattern))
    for number in range(5):
        with atomic_write(tmp_path / f"{number}.png") as part:
            part.touch()
    assert searched == [tmp_path]


def test_the_partial_file_of_a_killed_run_is_overwritten(tmp_path: Path):
    killed = durable_write(tmp_path / "log.jsonl")
    killed.__enter__().write_text("begun")
    with durable_write(tmp_path / "log.jsonl") as part:
        part.write_text("whole")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]
