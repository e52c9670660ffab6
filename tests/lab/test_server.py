"""`limpid lab` as a process: it prints its address, answers at once, refuses wrong options, and ends by Ctrl-C."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from limpid.cli.main import main


@contextmanager
def lab(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A lab that is started in a folder, and the address that it prints."""
    command = [sys.executable, "-m", "limpid", "lab", "--no-browser", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore Ctrl-C
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.communicate()


def read(url: str, token: str = ""):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(urllib.request.Request(url, headers={"x-limpid-token": token}), timeout=10)


def test_the_page_is_there_within_seconds_and_ctrl_c_ends_it_though_a_page_is_open(tmp_path: Path):
    begin = time.monotonic()
    with lab(tmp_path) as (process, url):
        page, token = url.split("?token=")
        with read(url) as answer:
            assert b"limpid" in answer.read()
        assert time.monotonic() - begin < 5
        with read(f"{page}api/events", token):
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "no folder or file nowhere"),
        (["--images", "nowhere"], "no folder or file nowhere"),
        (["--port", "many"], "--port many: expected a whole number"),
        (["--port", "99999"], "--port 99999: expected 1 to 65535"),
        (["--port"], "--port needs a value"),
        (["--port", "80", "nowhere"], "no folder or file nowhere"),
        (["--no-browser", "nowhere"], "no folder or file nowhere"),
        (["--prot", "80"], "no option --prot: did you mean --port?"),
        (["--steps", "80"], "no option --steps of limpid lab: it is an option of"),
    ],
)
def test_a_wrong_option_is_answered_in_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]):
    assert main(["lab", *arguments]) == 2
    assert line in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["lab", "--port", str(port)]) == 2
    assert f"--port {port}: Address already in use" in capsys.readouterr().err
