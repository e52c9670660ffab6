"""What the tests of the command share: a limit of the time that a test may wait."""

import signal
from collections.abc import Iterator

import pytest


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
