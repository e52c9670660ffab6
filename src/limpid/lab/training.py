"""The run that the page has started: `limpid train` in a process of its own, one at a time.

Beside the process of the jobs it is free to train while samples are made, and it is stopped as by Ctrl-C: it saves a
checkpoint and ends, however long that takes.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from limpid.lab.events import Event

CLOSE_SECONDS = 20.0
"""Seconds that the end of the lab waits for the run to save; it is not killed after that."""


class TrainingProcess:
    """The training of the page; everything is called in the thread of the event loop."""

    def __init__(self, folder: Path, publish: Callable[[Event], None]) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {"run": "", "state": "none", "error": ""}
        self._publish = publish
        self._process: Process | None = None
        self._waiting: asyncio.Task[None] | None = None

    async def start(self, run: str, recipe: Any) -> dict[str, Any]:
        """Train a new run by a recipe, or go on with one if that is None. Raises ValueError while another trains."""
        if self.state["state"] in ("running", "stopping"):
            raise ValueError(f"{self.state['run']} is in training: stop it, or wait until it is finished")
        name = run
        if recipe is not None:
            file = self.folder / "recipe.json"
            file.write_text(json.dumps(recipe), encoding="utf-8")
            name = str(file)
        self._change(run=run, state="running", error="")
        command = [sys.executable, "-m", "limpid", "train", name, "--run", run]
        try:
            # In a session of its own, Ctrl-C in the terminal reaches the server alone, which stops this process.
            with (self.folder / "train.log").open("wb") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError:
            self._change(state="failed", error="the process could not be started")
            raise
        self._waiting = asyncio.create_task(self._wait(self._process))
        return self.state

    def stop(self) -> dict[str, Any]:
        """Ask the run to save and end. Raises ValueError if none is in training."""
        if self.state["state"] not in ("running", "stopping") or self._process is None:
            raise ValueError("no run of this page is in training")
        if self.state["state"] == "running":  # a second signal would interrupt it before it has saved
            with suppress(ProcessLookupError):
                self._process.terminate()
            self._change(state="stopping")
        return self.state

    async def _wait(self, process: Process) -> None:
        code = await process.wait()
        requested = self.state["state"] == "stopping"
        if code == 0:
            self._change(state="finished")
        elif code == 130 or (requested and code < 0):  # by a signal before the run had begun
            self._change(state="stopped")
        else:
            self._change(state="failed", error=self._last_line(code))

    def _last_line(self, code: int) -> str:
        """Why the process ended: by a signal, or else by what it printed last."""
        if code < 0:
            return f"the process of the run was ended by {signal.Signals(-code).name}"
        lines = (self.folder / "train.log").read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{last[:500] or 'limpid train'} (exit code {code})"

    def event(self) -> Event:
        """The training as the page sees it."""
        return {"key": "training", "training": dict(self.state)}

    def _change(self, **changes: Any) -> None:
        self.state |= changes
        self._publish(self.event())

    async def close(self) -> None:
        """Stop the run, and wait for it."""
        if self.state["state"] == "running":
            self.stop()
        if self._waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._waiting), CLOSE_SECONDS)
