"""The lock on a run folder admits one process, and ends with it."""

import getpass
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from killable import LIVES

from limpid.cli.main import main
from limpid.storage.lock import exclusive


def hold_lock(folder: Path, held: Any, enough: Any) -> None:
    """Hold the lock until the event `enough`."""
    with exclusive(folder):
        held.set()
        enough.wait(60)


def test_a_second_process_is_refused_and_the_first_is_named(tmp_path: Path, capsys):
    held, enough = LIVES.Event(), LIVES.Event()
    process = LIVES.Process(target=hold_lock, args=(tmp_path, held, enough))
    process.start()
    assert held.wait(60)
    assert main(["train", "demo", "--run", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    holder = f"{getpass.getuser()} on {socket.gethostname()}, pid {process.pid}"
    assert f"{tmp_path} is in use by {holder}, since 2" in error
    assert error.count("\n") == 1
    process.kill()
    process.join()
    with exclusive(tmp_path):
        assert f"was in use by {getpass.getuser()}" in capsys.readouterr().out
        with pytest.raises(ValueError, match=f"in use by .* pid {os.getpid()}"), exclusive(tmp_path):
            pass
    with exclusive(tmp_path):
        assert capsys.readouterr().out == ""


def test_a_child_of_the_process_does_not_hold_the_lock(tmp_path: Path):
    """A worker process that reads images may live longer than a run that was killed."""
    reader, writer = os.pipe()
    with exclusive(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(writer, b"started")
            time.sleep(60)
            os._exit(0)
        os.read(reader, 1)
    try:
        with exclusive(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
