"""The folder of a run: its JSON files, and which of its checkpoints belong to the run."""

import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from limpid.data import DataSource
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import MAX_RECIPE_BYTES
from limpid.recipes.serialize import to_dict
from limpid.runtime import cpu, distributed
from limpid.runtime.device import Runtime, TrainingRuntime
from limpid.runtime.errors import error_line
from limpid.runtime.versions import version
from limpid.sampling.checkpoints import load_info
from limpid.sampling.training_data import data_warnings
from limpid.storage import checkpoint
from limpid.storage.atomic import durable_write
from limpid.storage.regular_files import read_bytes
from limpid.training.same_run import recipe_changes


def new_run_id(recipe: Recipe, init_sha256: str = "") -> str:
    """The identity of a run: a hash of the complete recipe, and of the trained weights that it began with, if any.

    Two runs of one recipe have the same identity, since they give the same bits.
    """
    return sha256(json.dumps(to_dict(recipe), sort_keys=True).encode() + init_sha256.encode()).hexdigest()[:16]


def read_run_id(folder: Path) -> str:
    """The identity of the run in a folder; empty if it is not recorded."""
    try:
        plain = json.loads(read_bytes(folder / "environment.json", MAX_RECIPE_BYTES))
    except (OSError, ValueError, RecursionError):
        return ""
    run_id = plain.get("run_id", "") if isinstance(plain, dict) else ""
    return run_id if isinstance(run_id, str) else ""


def latest_of_run(recipe: Recipe, folder: Path, run_id: str) -> Path | None:
    """The newest intact checkpoint in a folder that belongs to this run: same recipe, and same id if both are known.

    Newer ones that do not belong to it cause a warning. Raises as `checkpoint.latest` does.
    """

    def check(file: Path) -> None:
        about = load_info(file)
        if changed := recipe_changes(about.recipe, recipe):
            raise checkpoint.Foreign(f"{file} is of a run of another recipe ({', '.join(changed)})")
        if run_id and about.run_id not in ("", run_id):
            raise checkpoint.Foreign(f"{file} is of run {about.run_id}, and this is {run_id}")

    return checkpoint.latest(folder / "checkpoints", check)


def with_previous_choices(runtime: TrainingRuntime, folder: Path) -> TrainingRuntime:
    """`runtime` with the number of threads and the precision that the run of this folder had last on a CPU, unless they
    are given: the bits of a run depend on both. A precision that this machine does not have is chosen anew, and so are
    the threads if the number of processes has changed.

    Raises ValueError, with the file's name, if environment.json is damaged.
    """
    before = previous_environment(folder)
    threads, precision = before.get("threads", 0), before.get("precision", "auto")
    if "precision" not in before:  # written by limpid 0.1
        precision = str(before.get("machine", "")).removesuffix(", compiled").rpartition(", ")[2]
    if type(threads) is not int or not 0 < threads <= (os.cpu_count() or 1):
        return runtime
    if runtime.precision == "auto" and runtime.resolve().device == "cpu":
        possible = precision == "float32" or (precision == "bfloat16" and cpu.bfloat16_flags())
        runtime = replace(runtime, precision=precision if possible else "auto")
    same_processes = before.get("processes", 1) == distributed.world_size()
    return replace(runtime, threads=runtime.threads or threads) if same_processes else runtime


def previous_environment(folder: Path) -> dict[str, Any]:
    """The content of a run's environment.json, empty if there is none. Raises ValueError if it is damaged."""
    path = folder / "environment.json"
    try:
        before = json.loads(read_bytes(path, MAX_RECIPE_BYTES)) if path.exists() else {}
        if not isinstance(before, dict):
            raise ValueError(f"it holds a {type(before).__name__}, expected a table")
    except (OSError, ValueError, RecursionError) as error:
        advice = "remove it, and threads and precision are chosen anew for this machine"
        raise ValueError(f"cannot read {path} ({error}): {advice}") from error
    return before


def remove_partial_files(folder: Path) -> None:
    """Remove the partial files of a run that was killed."""
    for name in ("checkpoints/[0-9]*", "samples/[0-9]*", "samples/preview.png*", "snapshots/*/[0-9]*"):
        for part in folder.glob(f"{name}.part"):
            part.unlink()


@contextmanager
def failure_recorded(folder: Path) -> Iterator[None]:
    """Write in failure.json with which error training ends, if it does; the record of an earlier failure is removed.

    Of several processes the first writes it.
    """
    if not distributed.is_main_process():
        yield
        return
    record = folder / "failure.json"
    record.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        with suppress(OSError):  # the disk may be full, which must not hide the error itself
            write_json(record, {"error": error_line(error), "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
        raise


def write_data_once(folder: Path, recipe: Recipe, source: DataSource) -> None:
    """Record in data.json how the images of a run were read when it began, with all warnings."""
    if not (folder / "data.json").exists():
        plain = source.description.to_dict()
        write_json(folder / "data.json", plain | {"warnings": data_warnings(recipe, source)})


def write_json(path: Path, plain: Any) -> None:
    """Write plain data as JSON."""
    with durable_write(path) as part:
        part.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def environment(runtime: Runtime) -> dict[str, Any]:
    """The command, machine and versions of packages, which environment.json records."""
    packages = {name: version(name) for name in ("limpid", "torch", "numpy", "pillow", "safetensors")}
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": str(runtime),
        "processes": distributed.world_size(),
        "precision": runtime.precision,
        "threads": torch.get_num_threads() if runtime.device == "cpu" else 0,
        "processor": torch.cuda.get_device_name() if runtime.device.startswith("cuda") else platform.processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": packages,
    }
