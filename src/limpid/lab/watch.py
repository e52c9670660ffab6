"""Watches the run folders, so that every run appears live, whoever trains it."""

import asyncio
from importlib import import_module
from typing import Any

from starlette.concurrency import run_in_threadpool

from limpid.lab.events import Broadcast, Event
from limpid.lab.workspace import Workspace

WATCH_SECONDS = 1.0
"""Seconds between two looks at the folders, while a page is open."""


class RunWatch:
    """How each run was when its folder was last read."""

    def __init__(self, workspace: Workspace, events: Broadcast) -> None:
        self.workspace, self.broadcast = workspace, events
        self.runs: dict[str, dict[str, Any]] = {}

    def events(self) -> list[Event]:
        """The events of all runs."""
        return [run_event(run) for run in self.runs.values()]

    async def run(self) -> None:
        """Read the folders again and again, until this task is cancelled."""
        while True:
            if self.broadcast.pages:
                await self.update()
            await asyncio.sleep(WATCH_SECONDS)

    async def update(self) -> None:
        """Read the folders, and publish what has changed."""
        try:
            found = await run_in_threadpool(_read_runs, self.workspace)
        except OSError:  # a folder that is removed at this moment
            return
        for name in self.runs.keys() - found.keys():
            self.broadcast.publish({"key": f"run {name}", "gone": name})
        for name, run in found.items():
            if self.runs.get(name) != run:
                self.broadcast.publish(run_event(run))
        self.runs = found


def _read_runs(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """How each run is now; imported when it is first needed, since it brings torch, which takes seconds."""
    return import_module("limpid.lab.runs").summaries(workspace)


def run_event(run: dict[str, Any]) -> Event:
    """A run as the page sees it; every change of it replaces the event of this key."""
    return {"key": f"run {run['name']}", "run": run}
