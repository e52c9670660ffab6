"""A long task shows its progress on stderr, and a short one shows nothing."""

import itertools
import sys
import time

import pytest

from limpid.runtime.progress_line import CLEAR, ProgressLine, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is a second later each time it is read."""
    seconds = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))


@pytest.mark.usefixtures("clock")
def test_in_a_pipe_a_line_comes_every_ten_seconds_and_nothing_goes_to_stdout(capsys: pytest.CaptureFixture[str]):
    assert list(progress(range(25), "reading images", 25)) == list(range(25))
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == ["reading images: 10 of 25", "reading images: 20 of 25"]


@pytest.mark.usefixtures("clock")
def test_on_a_terminal_a_bar_is_rewritten_and_cleared_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with ProgressLine("photos\n", 4, " MB") as line:
        for _ in range(2):
            line.advance(2)
    output = capsys.readouterr().err
    assert output.split(CLEAR) == [
        "",
        "[============            ] photos\\n: 2 of 4 MB",
        "[========================] photos\\n: 4 of 4 MB",
        "",
    ]


@pytest.mark.usefixtures("clock")
def test_without_a_total_the_items_are_counted(capsys: pytest.CaptureFixture[str]):
    assert len(list(progress(iter("a" * 12_345), "files found"))) == 12_345
    assert capsys.readouterr().err.startswith("files found: 10\nfiles found: 20\n")


def test_short_work_shows_no_progress(capsys: pytest.CaptureFixture[str]):
    assert list(progress("abc", "reading images", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
