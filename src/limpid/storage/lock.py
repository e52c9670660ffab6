"""A lock on the folder of a run, for one process: the operating system releases it however the process ends."""

import getpass
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from limpid.runtime.log import logger
from limpid.runtime.terminal import printable
from limpid.storage.regular_files import open_unlinked, read_bytes

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

MAX_LOCK_BYTES = 4096
"""Limit of the size of a lock file, in bytes."""
CLOCK_CHANGE = 60.0
"""Seconds by which the clock may have been set since the machine was started."""
HELD: set[IO[str]] = set()
"""The open lock files of the folders that this process holds."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """A context that holds a folder, created if needed. Raises ValueError, with the process that holds it already.

    The lock works between processes of one machine, and on network folders between machines if the server has locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", encoding="utf-8", errors="replace", opener=open_unlinked) as file:
        file.seek(0)
        if not _lock(file):
            holder = printable(file.read(200).strip()) or "another process"
            raise ValueError(f"{folder} is in use by {holder}: stop it, or name another folder with --run")
        if gone := file.read(200).strip():
            logger.info(f"{folder} was in use by {gone}, which was killed")
        _write_holder(
            file, f"{_owner()} on {socket.gethostname()}, pid {os.getpid()}, since {time.strftime('%F %T %z')}"
        )
        HELD.add(file)
        try:
            yield
        finally:
            if file in HELD:
                HELD.discard(file)
                _write_holder(file, "")


def lock_holder(folder: Path) -> str:
    """The process that holds a folder, as written in the lock file; empty if none does.

    The lock itself is not tried, since this could make a process fail that starts at the same moment. The entry of a
    process that was killed is recognized by its process id, which no process of this machine has, or by a lock file
    that is older than the start of the machine, after which the id may be that of another process.
    """
    holder = _read_holder(folder)
    return "" if _is_gone(folder, holder) else holder


def killed_holder(folder: Path) -> str:
    """The process of this machine that held a folder last, if it was killed before it could let go; else empty."""
    holder = _read_holder(folder)
    return holder if _is_gone(folder, holder) else ""


def _read_holder(folder: Path) -> str:
    try:
        return printable(read_bytes(folder / "lock", MAX_LOCK_BYTES).decode(errors="replace").strip())
    except (OSError, ValueError):
        return ""


def _is_gone(folder: Path, holder: str) -> bool:
    found = re.search(r" on (\S+), pid (\d{1,9}), since ", holder)
    if not found or found[1] != socket.gethostname():
        return False
    return not _is_running(int(found[2])) or (folder / "lock").stat().st_mtime < _machine_started() - CLOCK_CHANGE


def _machine_started() -> float:
    """When this machine was started, in seconds since 1970 by the present clock; 0 where that is not known."""
    if sys.platform != "linux":
        return 0.0
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # a signal of number 0 would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """A context that holds a lock file, created if needed; waits until no other process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8", opener=open_unlinked) as file:
        while not _lock(file):
            time.sleep(0.05)
        yield


def _write_holder(file: IO[str], holder: str) -> None:
    """Write who holds the folder, for the message of other processes; the lock does not depend on it."""
    with suppress(OSError):
        file.seek(0)
        file.truncate()
        os.write(file.fileno(), holder.encode())


def _owner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return "somebody"


def _lock(file: IO[str]) -> bool:
    """Try to lock the file; returns whether this process holds it now."""
    try:
        if sys.platform == "win32":  # locked bytes cannot be read on Windows: lock one far behind the text
            os.lseek(file.fileno(), 1 << 20, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        logger.warning(f"this file system has no locks ({error}): make sure that no two runs share {file.name}")
    return True


def _release_in_child() -> None:
    """Close the lock files in a forked child, which would otherwise hold the lock after its parent was killed."""
    while HELD:
        HELD.pop().close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_release_in_child)
