"""The runs of the lab, as they are on disk: of this command, of the page, and of any other process."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from limpid.lab.workspace import DEPTH, Workspace, inside
from limpid.recipes.registry import MAX_RECIPE_BYTES
from limpid.recipes.serialize import match_choice
from limpid.storage.jsonl import read_jsonl_from
from limpid.storage.lock import killed_holder, lock_holder
from limpid.storage.regular_files import read_bytes
from limpid.storage.renamed import with_new_names

TAIL = 4096
"""Bytes of the end of a log in which its last line of losses is."""
MAX_ERROR = 500
"""The most letters of an error that are shown."""
MAX_IMAGE_BYTES = 1 << 26
"""Limit of the size of a grid, in bytes."""


@dataclass(frozen=True)
class LogQuery:
    """The log of a run, from a byte of the file that it was."""

    run: str
    version: str = ""
    start: int = 0


def find_runs(workspace: Workspace) -> dict[str, Path]:
    """The folders of all runs, by name."""
    return {str(run): run for path in workspace.run_paths for run in runs_below(path, DEPTH)}


def find_run(workspace: Workspace, name: str) -> Path:
    """The folder of a run. Raises ValueError for a name that is none."""
    runs = find_runs(workspace)
    return runs[match_choice("run", name, runs)]


def runs_below(path: Path, depth: int) -> Iterator[Path]:
    """The runs in a folder, or the one that it is."""
    if (path / "recipe.json").is_file():
        yield path
    elif depth and path.is_dir():
        for child in sorted(path.iterdir()):
            if child.is_dir() and inside(child, path):
                yield from runs_below(child, depth - 1)


def summaries(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """How each run is now, by name."""
    return {name: summary(name, folder) for name, folder in find_runs(workspace).items()}


def summary(name: str, folder: Path) -> dict[str, Any]:
    """How a run is: images seen, of how many, its speed, who trains it, and what changed since it was last read."""
    log, about = folder / "log.jsonl", (folder / "recipe.json").stat()
    version, size = log_version(log)
    lines = read_jsonl_from(log, max(0, size - TAIL))[0] if size else []
    last = next((line for line in reversed(lines) if "loss" in line), {})
    return {
        "name": name,
        "duration": recipe_duration(folder / "recipe.json", about.st_mtime_ns),
        "images_seen": last.get("images_seen", 0),
        "images_per_second": finite(last.get("images_per_second")) or 0,
        "loss": finite(last.get("loss")),
        "held_by": lock_holder(folder),
        "error": failure(folder),
        "log": [version, size],
        "grids": len(grids(folder)),
        "started": about.st_mtime,
    }


def failure(folder: Path) -> str:
    """Why a run that is not in training ended before it was finished or stopped; empty if it did not."""
    if killed := killed_holder(folder):
        return f"its process was killed, or ended with the machine: {killed}"
    try:
        error = json.loads(read_bytes(folder / "failure.json", MAX_RECIPE_BYTES))["error"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return error[:MAX_ERROR] if isinstance(error, str) else ""


def log_version(log: Path) -> tuple[str, int]:
    """What identifies the file of a log, which is replaced when a run is resumed, and its size in bytes."""
    try:
        stat = log.stat()
    except OSError:
        return "", 0
    return f"{stat.st_dev}-{stat.st_ino}", stat.st_size


@lru_cache(maxsize=256)
def recipe_duration(recipe: Path, changed: int) -> int:
    """The images of a run's recipe, which is read again where it has changed; 0 if it cannot be read."""
    try:
        value = with_new_names("Recipe", json.loads(read_bytes(recipe, MAX_RECIPE_BYTES)))["duration"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return 0
    return value if type(value) is int else 0


def grids(folder: Path) -> list[str]:
    """The names of a run's sample grids, oldest first: each is the number of images seen, or `preview`."""
    found = sorted(file.stem for file in (folder / "samples").glob("*.png"))
    return [name for name in found if name.isdecimal() or name == "preview"]


def log_lines(workspace: Workspace, query: LogQuery) -> Any:
    """The new lines of a run's log, how many of them are damaged and left out, where to read on, and its grids; all
    lines if the log was replaced."""
    folder = find_run(workspace, query.run)
    version, size = log_version(folder / "log.jsonl")
    start = query.start if query.version == version and 0 <= query.start <= size else 0
    lines, damaged, after = read_jsonl_from(folder / "log.jsonl", start) if size else ([], 0, 0)
    new = {"lines": finite(lines), "damaged": damaged}
    return {"version": version, "start": start, "next": after, **new, "grids": grids(folder)}


def finite(value: Any) -> Any:
    """Plain data in which numbers that JSON cannot hold, such as NaN, are None."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def grid_bytes(workspace: Workspace, run: str, name: str) -> bytes:
    """One of a run's sample grids, as PNG. Raises ValueError for a name that is none."""
    folder = find_run(workspace, run)
    file = folder / "samples" / f"{match_choice('grid', name, grids(folder))}.png"
    if not inside(file, folder):
        raise ValueError(f"{file} is a link out of {folder}: it is not shown")
    return read_bytes(file, MAX_IMAGE_BYTES)
