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
    """Whether the run was asked to stop."""

    requested = False
    abandons = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Work inside ends at once, silently, when a stop is requested: nobody has to wait for it."""
        try:
            self.abandons = True
            try:
                yield
            finally:
                self.abandons = False
        except Abandoned:
            self.abandons = False  # also if the signal came during the same assignment above


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Turns the first Ctrl-C or SIGTERM into a stop request, which the loop reads after its step; a second interrupts.

    SIGHUP, from a terminal that closes, is such a request too, unless it is ignored, as under nohup. It never
    interrupts, since a shell and the system may each send it. With several processes none is interrupted: a scheduler
    and torchrun may each send the same signal, and torchrun kills those that have not stopped after 30 seconds. Signals
    reach only the main thread: a run in another thread is stopped by none, and leaves their handlers as they are.
    """
    stop, insisted = StopRequest(), False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal insisted
        if insisted and number != HANGUP and distributed.world_size() == 1:
            raise KeyboardInterrupt
        stop.requested, insisted = True, insisted or number != HANGUP
        if stop.abandons:
            raise Abandoned

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if HANGUP and signal.getsignal(HANGUP) != signal.SIG_IGN:
        numbers.append(HANGUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
