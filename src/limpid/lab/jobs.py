"""Jobs of the page: one at a time, in a process of their own, in the order of the requests.

The process takes a job as a line of JSON and answers with lines of JSON. It stays for the next job, so that torch is
imported and a model loaded once; cancelling ends it, and the next job starts another.
"""

import asyncio
import json
import secrets
import shutil
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from limpid.lab.events import Event
from limpid.runtime.errors import error_line

Report: TypeAlias = Callable[[dict[str, Any]], None]
"""Is called, in the process of the jobs, with the progress of one."""

MAX_QUEUED = 8
"""Jobs that may wait."""
MAX_FINISHED = 12
"""Finished jobs whose results are stored."""
MAX_LINE = 2**22
"""Bytes of the longest line that the process may send."""
GRACE_SECONDS = 5.0
"""Seconds that a process has to end before it is killed."""
INPUTS = "inputs"
"""The parameter that holds images, which the process needs and the page has already."""
OVER = ("done", "failed", "cancelled")


@dataclass
class Job:
    """One job, from its request to its result."""

    kind: str
    parameters: dict[str, Any]
    folder: Path
    """Where its files are."""
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    state: str = "queued"
    """queued, running, done, failed or cancelled."""
    progress: dict[str, Any] = field(default_factory=dict)
    """The last report of the process: `done` of `total`, and what else the kind of job reports."""
    result: Any = None
    error: str = ""
    created: float = field(default_factory=time.time)

    def event(self) -> Event:
        """The job as the page sees it; every change of it replaces the event of this key."""
        shown = {
            name: getattr(self, name) for name in ("id", "kind", "state", "progress", "result", "error", "created")
        }
        parameters = {name: value for name, value in self.parameters.items() if name != INPUTS}
        return {"key": f"job {self.id}", "job": shown | {"parameters": parameters}}


class JobQueue:
    """The jobs of a lab; everything is called in the thread of the event loop."""

    def __init__(self, folder: Path, publish: Callable[[Event], None]) -> None:
        self.folder = folder
        self.jobs: dict[str, Job] = {}
        self._publish = publish
        self._wake = asyncio.Event()
        self._process: Process | None = None
        self._starting = asyncio.Lock()

    def submit(self, kind: str, parameters: dict[str, Any]) -> Job:
        """Add a job. Raises ValueError if too many are waiting."""
        waiting = sum(job.state == "queued" for job in self.jobs.values())
        if waiting >= MAX_QUEUED:
            raise ValueError(f"{waiting} jobs are waiting: expected at most {MAX_QUEUED}; cancel one, or wait")
        job = Job(kind, parameters, self.folder)
        job.folder = self.folder / job.id
        job.folder.mkdir()
        self.jobs[job.id] = job
        self._changed(job)
        self._wake.set()
        return job

    def find(self, job_id: str) -> Job:
        """The job of an id. Raises ValueError if there is none."""
        if job_id not in self.jobs:
            raise ValueError(f"no job {job_id!r}: its results may be deleted already")
        return self.jobs[job_id]

    def cancel(self, job_id: str) -> Job:
        """Cancel a job that is not over. Raises ValueError if there is none of this id."""
        job = self.find(job_id)
        running = job.state == "running"
        if job.state not in OVER:
            self._changed(job, state="cancelled")
        if running and self._process:
            self._stop(self._process)
        return job

    async def run(self) -> None:
        """Do the jobs, until this task is cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while job := next((job for job in self.jobs.values() if job.state == "queued"), None):
                    await self._do(job)
                    self._forget_old()
        finally:
            await self.close()

    async def warm_up(self) -> Process:
        """The process of the jobs, started if there is none: it imports torch before the first job is there."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                command = [sys.executable, "-m", "limpid.lab.worker"]
                # In a session of its own, Ctrl-C in the terminal reaches the server alone, which ends this process.
                with (self.folder / "worker.log").open("wb") as log:
                    self._process = await asyncio.create_subprocess_exec(
                        *command, stdin=PIPE, stdout=PIPE, stderr=log, limit=MAX_LINE, start_new_session=True
                    )
            return self._process

    async def _do(self, job: Job) -> None:
        self._changed(job, state="running")
        try:
            process = await self.warm_up()
        except OSError as error:
            self._changed(job, state="failed", error=error_line(error))
            return
        assert process.stdin is not None
        assert process.stdout is not None
        order = {"kind": job.kind, "folder": str(job.folder), "parameters": job.parameters}
        with suppress(ConnectionError):  # it has ended, as the line below finds
            process.stdin.write(json.dumps(order).encode() + b"\n")
            await process.stdin.drain()
        while job.state not in ("done", "failed"):  # one that is cancelled is over when its process is
            line = await process.stdout.readline()
            if not line:
                await process.wait()
                if job.state == "running":
                    self._changed(job, state="failed", error=self._last_words(process.returncode or 0))
                return
            if job.state == "running":
                self._changed(job, **json.loads(line))

    def _stop(self, process: Process) -> None:
        """End a process, by force if it is still there after a while."""
        with suppress(ProcessLookupError):
            process.terminate()
        asyncio.get_running_loop().call_later(GRACE_SECONDS, kill_if_alive, process)

    def _changed(self, job: Job, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(job, name, value)
        self._publish(job.event())

    def _last_words(self, code: int) -> str:
        """Why the process ended, by its log."""
        lines = (self.folder / "worker.log").read_text(errors="replace").split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "")
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return f"the process of the jobs ended {how}{': ' if said else ''}{said[:500]}"

    def _forget_old(self) -> None:
        over = [job for job in self.jobs.values() if job.state in OVER]
        for job in over[:-MAX_FINISHED]:
            del self.jobs[job.id]
            shutil.rmtree(job.folder, ignore_errors=True)
            self._publish({"key": f"job {job.id}", "gone": job.id})

    async def close(self) -> None:
        """End the process of the jobs."""
        if self._process and self._process.returncode is None:
            kill_if_alive(self._process)
            await self._process.wait()


def kill_if_alive(process: Process) -> None:
    """Kill a process that has not ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
