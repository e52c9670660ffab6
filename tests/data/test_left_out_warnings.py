"""Images that could not be read are named by a warning: at each opening of their folder, and once in a command."""

from contextvars import Context
from pathlib import Path

import pytest
from own_images import open_all, png, write

from limpid.runtime.log import warnings_once


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two images and one that cannot be read."""
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "cache"))
    return write(tmp_path / "p", {"a.png": png(0), "b.png": b"", "c.png": png(1)})


def warnings_of(root: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """How often an opening of the folder warns."""
    open_all(root, on_error="skip")
    return capsys.readouterr().err.count("1 could not be read")


def test_each_opening_warns_in_a_program_of_ones_own(damaged: Path, capsys):
    for _ in range(2):
        assert Context().run(warnings_of, damaged, capsys) == 1


def test_a_command_that_opens_a_folder_several_times_warns_once(damaged: Path, capsys):
    for _ in range(2):
        with warnings_once():
            assert [warnings_of(damaged, capsys) for _ in range(3)] == [1, 0, 0]
