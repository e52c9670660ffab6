"""Stopping a run by a signal: the step is completed, a checkpoint is saved, and the same command resumes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from limpid.runtime import distributed

HANGUP = getattr(signal, "SIGHUP", None)
"""Sent when a terminal closes; Windows has none."""


class Abandoned(BaseException):
    """Raised by a stop request inside work that may be left unfinished."""


class StopRequest:
    """Whether a stop of the run was requested."""

    requested = False
    interrupts = False
    """Whether a request ends the current work at once, by raising `Abandoned`."""

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A context for work that ends at once, silently, when a stop is requested."""
        try:
            self.interrupts = True
            try:
                yield
            finally:
                self.interrupts = False
        except Abandoned:
            self.interrupts = False  # also if the signal came during the assignment above


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """A context in which the first Ctrl-C or SIGTERM requests a stop, which the loop reads after its step; a second one
    interrupts.

    SIGHUP, from a terminal that closes, requests a stop too, unless it is ignored, as under nohup. It never interrupts,
    since a shell and the system may each send it. With several processes no signal interrupts: a scheduler and torchrun
    may each send the same signal, and torchrun kills processes that have not stopped after 30 seconds. Signals reach
    only the main thread: a run in another thread is not stopped by them, and leaves their handlers unchanged.
    """
    stop, repeated = StopRequest(), False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal repeated
        if repeated and number != HANGUP and distributed.world_size() == 1:
            raise KeyboardInterrupt
        stop.requested, repeated = True, repeated or number != HANGUP
        if stop.interrupts:
            raise Abandoned

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANGUP and signal.getsignal(HANGUP) != signal.SIG_IGN:
        numbers.append(HANGUP)
    before = {number: signal.signal(number, request) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
