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
    """What a wish to stop raises in the midst of something that may be left undone."""


class StopRequest:
    """Whether someone has asked the run to stop."""

    requested = False
    abandons = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """What is done in here ends at once, without a word, when someone asks to stop: others need not wait for it."""
        try:
            self.abandons = True
            try:
                yield
            finally:
                self.abandons = False
        except Abandoned:
            self.abandons = False  # also where it came in the midst of the line that says so above


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Turns the first Ctrl-C or SIGTERM into a wish that the loop sees after its step; a second one interrupts.

    SIGHUP, of a terminal that closes, is such a wish too, unless it is ignored, as under nohup. It never interrupts, as
    a shell and the system may each send it. Of many processes none is interrupted: a scheduler and torchrun may each
    send the same one, and torchrun ends at once, after 30 seconds, those that do not stop. Signals reach the main
    thread alone: a run in another is stopped by none, and leaves their handlers as they are.
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
