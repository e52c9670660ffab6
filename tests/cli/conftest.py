"""What the tests of the command share: a small trained run, and a limit of the time that a test may wait."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_commands import TINY_OPTIONS

from limpid.cli.main import main


@pytest.fixture
def time_limit() -> Iterator[None]:
    """A test that waits for a pipe fails after a minute."""

    def give_up(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 32 images; a test that trains on takes a copy."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "demo", *TINY_OPTIONS, "--run", str(folder)]) == 0
    return folder
