"""A run continues when nobody can read its output any more."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from run_results import checkpoint_images, same_run
from tiny_recipes import CPU, SHORT

from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


COMMAND = [sys.executable, "-m", "limpid", "train", "demo", "--batch-size", "8", "--every.log", "8", "--threads", "1"]


@pytest.mark.parametrize("output", ["broken pipe", "full disk", "closed", "ascii"])
def test_a_run_continues_when_its_output_cannot_be_written(
    output: str, uninterrupted: Path, tmp_path: Path, monkeypatch
):
    reader, writer = os.pipe()
    if output == "full disk":
        os.dup2(os.open("/dev/full", os.O_WRONLY), writer)
    stream = os.fdopen(writer, "w", buffering=1, encoding="ascii")
    if output == "broken pipe":
        os.close(reader)
    folder = tmp_path / "ö"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        if output == "closed":
            stream.close()
        assert run(SHORT, folder, CPU)
        assert sys.stdout is stream
    with suppress(OSError):
        stream.close()
    assert same_run(folder, uninterrupted)


def test_a_run_whose_output_pipe_is_closed_trains_to_its_end(tmp_path: Path):
    small = ["--images", "32", "--network.model-channels", "16", "--sampling.steps", "2"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, *small, "--run", str(tmp_path)], stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert checkpoint_images(tmp_path) == [0, 32]
    assert (tmp_path / "samples.png").exists()


def restore_hangup() -> None:
    """Let SIGHUP end the process also where the tests run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_run_whose_terminal_closes_saves(tmp_path: Path):
    terminal, inside = os.openpty()
    command = [*COMMAND, "--network.model-channels", "16", "--run", str(tmp_path)]
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=inside, stdout=inside, stderr=inside, preexec_fn=restore_hangup
    )
    os.close(inside)
    output = b""
    while b"images/s" not in output:
        output += os.read(terminal, 1000)
    os.close(terminal)
    assert process.wait(120) == 130
    assert checkpoint_images(tmp_path)[-1] > 0


@pytest.mark.parametrize(
    ("output", "code", "message"), [("/dev/full", 1, "limpid: [Errno 28] No space left"), ("|", 0, "")]
)
def test_output_that_cannot_be_written_is_an_error_unless_the_pipe_was_closed(output: str, code: int, message: str):
    command = [sys.executable, "-m", "limpid", "recipes"]
    reader, writer = os.pipe()
    os.close(reader)
    if output != "|":
        os.dup2(os.open(output, os.O_WRONLY), writer)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == code
