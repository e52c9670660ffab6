"""Commands whose output nobody reads any more, as after `| head`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from io import TextIOWrapper

import pytest

from limpid.cli.main import main

READER_GONE = 0


@pytest.fixture(params=["block", "line"])
def unread(request: pytest.FixtureRequest) -> Iterator[TextIOWrapper]:
    """A stream into a pipe whose reader has gone, buffered in blocks, or by line as `python -u` has it."""
    out, into = os.pipe()
    os.close(out)
    with open(into, "w", buffering=1 if request.param == "line" else -1) as stream:
        yield stream


@pytest.mark.parametrize("words", ["--help", "--version", "train --help", "train demo --help", "lab --help", "recipes"])
def test_a_command_whose_reader_has_gone_ends_quietly(words: str, unread: TextIOWrapper, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", unread)
        assert main(words.split()) == READER_GONE
    assert capsys.readouterr().err == ""


def test_a_wrong_command_whose_reader_has_gone_still_fails(unread: TextIOWrapper, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", unread)
        assert main(["bogus"]) == 2


@pytest.mark.parametrize("verb", ["train", "recipes"])
def test_another_pipe_that_breaks_is_an_error_of_one_line(verb: str, monkeypatch, capsys):
    """That of a worker process or of a connection, for example."""

    def lose_connection(*_: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(f"limpid.cli.{verb}.main", lose_connection)
    assert main([verb, "demo"]) == 1
    assert capsys.readouterr().err == "limpid: [Errno 32] Broken pipe\n"


def test_python_adds_nothing_at_exit_where_the_reader_has_gone():
    out, into = os.pipe()
    os.close(out)
    done = subprocess.run([sys.executable, "-m", "limpid", "--help"], stdout=into, stderr=subprocess.PIPE, text=True)
    os.close(into)
    assert (done.returncode, done.stderr) == (READER_GONE, "")
