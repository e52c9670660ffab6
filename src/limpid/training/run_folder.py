"""A run and the folder that holds it: its recipe, log, checkpoints and sample grids, written so that none is lost."""

import json
import math
import os
import platform
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limpid.data import DataSource
from limpid.evaluation.online import OnlineScorer
from limpid.optim.ema import folder_name
from limpid.optim.optimizers import lr_at
from limpid.recipes.recipe import Recipe, build_denoiser, with_absolute_root
from limpid.recipes.registry import MAX_RECIPE_BYTES, load_recipe_file
from limpid.recipes.serialize import to_dict
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.fsdp import desynced, gather_full
from limpid.runtime.log import warn
from limpid.runtime.terminal import echo
from limpid.sampling import figures
from limpid.sampling.checkpoints import CheckpointInfo, load_info
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.training_data import check_data
from limpid.storage import checkpoint, jsonl
from limpid.storage.atomic import durable_write, fsync
from limpid.storage.jsonl import JsonlLog
from limpid.storage.regular_files import read_bytes, refuse_linked_folders
from limpid.training.anomalies import NonFiniteMonitor, NonFiniteStep, degenerate_samples, loss_spike
from limpid.training.loop import StepMetrics, TrainState, init_state, load_state_dict, state_dict
from limpid.training.meter import LossMeter
from limpid.training.progress import StopRequest
from limpid.training.step_times import StepTimes, advice

# What may differ when a run goes on: how long it is, how pictures are drawn, and how often.
MUTABLE_FIELDS = ("duration", "sampling", "every")
FREE_OF_DATA = ("root", "workers")
UNSCORED = (OSError, ValueError, FloatingPointError, torch.linalg.LinAlgError)  # pyright: ignore[reportPrivateImportUsage]
"""What may go wrong with a score: data that has gone, samples or features that are no numbers, a decomposition that
fails."""


@dataclass
class Run:
    """A run that is going on, and the folder that holds it.

    Of many processes all call the same methods at the same moments; the first alone writes, draws and scores.
    """

    recipe: Recipe
    folder: Path
    runtime: Runtime
    source: DataSource
    state: TrainState
    meter: LossMeter
    nonfinite: NonFiniteMonitor
    log: JsonlLog
    run_id: str
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    """Those of the last lines of the log."""
    speed_mark: tuple[int, float] = (0, 0.0)
    """Images seen, and the clock, at the last line of the log."""
    step_times: StepTimes = field(default_factory=StepTimes)
    seconds_untimed: float = 0.0
    """Spent on what is no training: drawing, scoring, saving."""

    def clock(self) -> float:
        """Seconds of training, from some moment on."""
        return time.perf_counter() - self.seconds_untimed

    def record(self, report: StepMetrics) -> None:
        """Gather what a step tells, without waiting for it; say once what would help if steps have become slow."""
        if (slow := self.step_times.add(self.clock())) and distributed.is_main_process():
            with self.untimed():
                warn(f"{slow}: {advice(self.runtime)}")
        self.meter.add(report.loss, report.importance_weight, report.logsnr)
        self.nonfinite.see(report.data_position, report.loss, report.logsnr, report.grad_norm)

    def raise_if_nonfinite(self) -> None:
        """Raise Diverged if a loss or gradient so far was no number: the weights are bad since then."""
        if wrong := self.nonfinite.read():
            raise NonFiniteError(wrong)

    def log_line(self, report: StepMetrics) -> tuple[float, float]:
        """Write a line of the log; the mean loss and images per second since the last one."""
        self.raise_if_nonfinite()
        (loss, parts), (seen, clock) = self.meter.read(), self.speed_mark
        self.speed_mark = report.images_seen, self.clock()
        speed = (report.images_seen - seen) / (self.speed_mark[1] - clock)
        if not distributed.is_main_process():
            return loss, speed
        line = {"images_seen": report.images_seen, "loss": loss, "lr": report.lr, "grad_norm": report.grad_norm.item()}
        with tolerate_disk_errors("the log"):
            self.log.add(line | {"loss_by_logsnr": parts, "images_per_second": round(speed, 1)})
        if problem := loss_spike(loss, self.losses):
            warn(f"{problem}, after {report.images_seen:,} images")
        self.losses.append(loss)
        return loss, speed

    def checkpoint_info(self) -> CheckpointInfo:
        """What a checkpoint needs besides its tensors to be rebuilt alone."""
        state, source = self.state, self.source
        return CheckpointInfo(
            *(
                state.images_seen,
                source.shape,
                source.class_names,
                self.recipe,
                state.data_position,
                state.skipped_batches,
            ),
            class_counts=source.class_counts,
            run_id=self.run_id,
            data=source.fingerprint,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a run needs to go on; of sharded ones what this process holds."""
        return state_dict(self.state) | {"meter": self.meter.total}

    def save(self, last: bool = False) -> None:
        """Write a checkpoint. If the disk refuses, the run goes on and tries at the next, unless this is the `last`.

        Raises OSError then, naming the last that is good; FloatingPointError if processes do not hold the same.
        """
        self.raise_if_nonfinite()
        folder, milestone = self.folder / "checkpoints", self.recipe.every.milestone
        if differing := desynced(self.tensors()):
            raise FloatingPointError(f"the processes no longer hold the same {differing[0]}: are their machines alike?")
        tensors = gather_full(self.tensors())
        if not distributed.is_main_process():
            return
        try:
            with self.untimed():
                self.log.sync()
                checkpoint.save_checkpoint(
                    folder, self.state.images_seen, tensors, to_dict(self.checkpoint_info()), milestone=milestone
                )
        except OSError as error:
            if last:
                good = self.newest() or "none"
                raise OSError(f"cannot write a checkpoint ({error}); the last good one is {good}") from error
            warn(f"cannot write a checkpoint ({error}); going on, and trying again at the next")
        if self.recipe.every.score:
            with self.untimed(), tolerate_disk_errors("the best checkpoint"):
                self.update_best()

    def save_ema_snapshots(self) -> None:
        """Keep the power-function averages of this moment, in half precision."""
        self.raise_if_nonfinite()
        with self.untimed(), tolerate_disk_errors("an average"):
            for std, net in zip(self.recipe.ema_snapshots, self.state.power_emas, strict=True):
                whole = gather_full(net.state_dict())
                if distributed.is_main_process():
                    tensors = {f"ema.{name}": value.half() for name, value in whole.items()}
                    folder, about = (
                        self.folder / "snapshots" / folder_name(std),
                        replace(self.checkpoint_info(), std=std),
                    )
                    checkpoint.save_checkpoint(folder, about.images_seen, tensors, to_dict(about), keep=0)

    def draw_samples(self, stop: StopRequest) -> None:
        """Draw the sample grid of this moment, from the same seeds as all of them, unless asked to stop meanwhile."""
        self.raise_if_nonfinite()
        pipeline = self.ema_pipeline()
        if not distributed.is_main_process():
            return
        with (
            self.untimed(),
            tolerate_disk_errors("the samples", (OSError, FloatingPointError)),
            stop.interruptible(),
            self.runtime.sampling_threads(),
        ):
            pixels = figures.preview_samples(pipeline)
            fsync(figures.save_sample_grid(pixels, pipeline.class_names, self.grid))
            if problem := degenerate_samples(pixels):
                warn(f"{problem}, after {self.state.images_seen:,} images")

    def score(self, stop: StopRequest) -> None:
        """Write the cheap score of this moment to the log, and keep its weights if none before scored better.

        Pictures or data that cannot be scored are warned of, and the run goes on without this score.
        """
        self.raise_if_nonfinite()
        pipeline, tensors = self.ema_pipeline(), gather_full(self.tensors())
        if not distributed.is_main_process():
            return
        with self.untimed(), tolerate_disk_errors("a score", UNSCORED), stop.interruptible():
            name, value = self.online_scorer.name, self.online_scorer.measure(pipeline)
            before = [line[name] for line in self.scores]
            self.log.add({"images_seen": self.state.images_seen, name: value})
            if value < min(before, default=math.inf):
                checkpoint.save_checkpoint(
                    self.folder / "best", self.state.images_seen, tensors, to_dict(self.checkpoint_info()), keep=0
                )
            self.update_best()

    @property
    def scores(self) -> list[jsonl.Line]:
        """The lines of the log that hold a score."""
        return [line for line in self.log.lines() if self.online_scorer.name in line]

    def update_best(self) -> bool:
        """Make `best/` hold the checkpoint that scored best in the log, where a copy of it is left; whether it does.

        After a kill, or a disk that refused, it may hold another or none. The one before stays until no going back can
        take the score of the new one off the log again.
        """
        scores = [line for line in self.scores if math.isfinite(line[self.online_scorer.name])]
        if not scores:
            return True
        seen = min(scores, key=lambda line: line[self.online_scorer.name])["images_seen"]
        folder, checkpoints = self.folder / "best", self.folder / "checkpoints"
        best, saved = (place / checkpoint.file_name(seen) for place in (folder, checkpoints))
        if not best.exists() and saved.exists():
            with durable_write(best) as part:
                shutil.copyfile(saved, part)
        if best.exists() and any(int(file.stem) >= seen for file in checkpoint.list_checkpoints(checkpoints)):
            for other in checkpoint.list_checkpoints(folder):
                if other != best:
                    other.unlink()
        return best.exists()

    @property
    def has_score(self) -> bool:
        """Whether this moment has its score."""
        return any(line["images_seen"] == self.state.images_seen for line in self.scores)

    @cached_property
    def online_scorer(self) -> OnlineScorer:
        """What scores it; made when it is first asked for."""
        return OnlineScorer(self.recipe, self.recipe.every.score_images)

    @property
    def grid(self) -> Path:
        """The file of the sample grid of this moment."""
        return self.folder / "samples" / f"{self.state.images_seen:012d}.png"

    def newest(self) -> Path | None:
        """The last good checkpoint of this run."""
        return latest_of_run(self.recipe, self.folder, self.run_id)

    def ema_pipeline(self) -> Pipeline:
        """The averaged network of this moment; all of it for the first process, where it is sharded."""
        average, shape, names = self.state.ema, self.source.shape, self.source.class_names
        if self.runtime.fsdp:
            tensors = gather_full(average.net.state_dict())
            if distributed.is_main_process():
                with torch.random.fork_rng(devices=[]):  # weights are drawn, and then replaced
                    average = self.runtime.to_device(build_denoiser(self.recipe, shape, len(names))).eval()
                average.net.load_state_dict(tensors)
        names, counts = (names, self.source.class_counts) if self.recipe.class_conditional else ((), ())
        return Pipeline(average, self.recipe, shape, names, self.state.images_seen, counts, self.runtime)

    def resume(self, file: Path) -> None:
        """Put all back to where it was at a checkpoint, the log too. Raises ValueError if it is of another run.

        The first process reads it, and gives it to the others.
        """
        about = distributed.broadcast_object(lambda: load_info(file))
        tensors = distributed.broadcast_tensors(lambda: checkpoint.read_tensors(file))
        fixed = {name: value for name, value in self.tensors().items() if not name.startswith("optimizer.")}
        checkpoint.check_matches({n: t for n, t in tensors.items() if not n.startswith("optimizer.")}, fixed, file)
        self.meter.total.copy_(tensors["meter"])
        try:
            load_state_dict(self.state, tensors)
        except (LookupError, ValueError, RuntimeError) as error:
            raise ValueError(f"{file} does not fit: {str(error).splitlines()[0]}") from error
        self.state.images_seen, self.state.data_position, self.state.skipped_batches = (
            about.images_seen,
            about.data_position,
            about.skipped_batches,
        )
        self.nonfinite = NonFiniteMonitor(self.runtime.device)
        self.losses.clear()
        if distributed.is_main_process():
            with tolerate_disk_errors("the log"):
                self.log.cut(about.images_seen)
            self.losses.extend(line["loss"] for line in self.log.lines() if "loss" in line)
            if self.recipe.every.score:
                with tolerate_disk_errors("the best checkpoint"):
                    if not self.update_best():
                        warn(f"{self.folder / 'best'} lacks the checkpoint that scored best, of which none is left")

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """What is done in here does not count as training when speed is measured."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds_untimed += time.perf_counter() - begin


class NonFiniteError(FloatingPointError):
    """A loss or a gradient was no number."""

    def __init__(self, wrong: NonFiniteStep):
        super().__init__(str(wrong))
        self.wrong = wrong


@contextmanager
def tolerate_disk_errors(what: str, kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Tells of a disk that refuses `what` is written in here, or of another of these errors; the run goes on."""
    try:
        yield
    except kinds as error:
        warn(f"cannot write {what} ({error}); going on")


def open_run(recipe: Recipe, folder: Path, runtime: Runtime, source: DataSource, allow_rewarm: bool = False) -> Run:
    """The run of a folder where it stopped, or a new one.

    Raises ValueError if it is a run of another recipe, or of fewer images with a learning rate that has decayed for
    them, unless that is allowed.
    """
    if distributed.is_main_process():
        refuse_linked_folders(folder)
        check_same_recipe(recipe, folder)
    file = distributed.broadcast_object(lambda: latest_of_run(recipe, folder, read_run_id(folder)))
    run_id = distributed.broadcast_object(lambda: (load_info(file).run_id if file else "") or new_run_id(recipe))
    if distributed.is_main_process() and file:
        about = load_info(file)
        refuse_other_data(recipe, folder, about, source)
        if not allow_rewarm:
            check_no_rewarm(recipe, folder, about.images_seen)
    state = init_state(recipe, source.shape, len(source.class_names), runtime)
    log = JsonlLog(folder / "log.jsonl")
    now = Run(
        recipe, folder, runtime, source, state, LossMeter(runtime.device), NonFiniteMonitor(runtime.device), log, run_id
    )
    if distributed.is_main_process():
        write_json(folder / "recipe.json", to_dict(recipe))
        write_json(folder / "environment.json", {"run_id": run_id} | environment(runtime))
        remove_partial_files(folder)
    parameters = sum(weight.numel() for weight in state.model.parameters())
    echo(f"{folder}: {parameters:,} parameters, {recipe.duration:,} images, on {runtime}")
    if file:
        now.resume(file)
        if distributed.is_main_process():
            checkpoint.set_aside(file.parent, file)
        echo(f"going on after {state.images_seen:,} images")
    else:
        if distributed.is_main_process():
            log.cut(0)
        now.save(last=True)  # a disk that refuses checkpoints is found out now, and there is always one to go back to
    return now


def new_run_id(recipe: Recipe) -> str:
    """What tells runs apart: a hash of the recipe that a run was begun with, its length and sampling too.

    Two runs of one recipe are one run, to the bit, and so are their checkpoints.
    """
    return sha256(json.dumps(to_dict(recipe), sort_keys=True).encode()).hexdigest()[:16]


def read_run_id(folder: Path) -> str:
    """Which run the folder says it holds; empty if it does not say."""
    try:
        plain = json.loads(read_bytes(folder / "environment.json", MAX_RECIPE_BYTES))
    except (OSError, ValueError, RecursionError):
        return ""
    run_id = plain.get("run_id", "") if isinstance(plain, dict) else ""
    return run_id if isinstance(run_id, str) else ""


def latest_of_run(recipe: Recipe, folder: Path, run_id: str) -> Path | None:
    """The last good checkpoint in a folder that is of this run: of its recipe, and of its id where both are known.

    Those after it that are not are named. Raises as `checkpoint.newest` does.
    """

    def check(file: Path) -> None:
        about = load_info(file)
        if changed := recipe_changes(about.recipe, recipe):
            raise checkpoint.Foreign(f"{file} is of a run of another recipe ({', '.join(changed)})")
        if run_id and about.run_id not in ("", run_id):
            raise checkpoint.Foreign(f"{file} is of run {about.run_id}, and this is {run_id}")

    return checkpoint.latest(folder / "checkpoints", check)


def previous_threads(folder: Path) -> int:
    """On how many CPU threads a run was begun, which its last bits depend on; 0 if unknown, or too many here, or begun
    by another number of processes. Raises ValueError, naming the file that says so, if that is damaged."""
    path = folder / "environment.json"
    try:
        before = json.loads(read_bytes(path, MAX_RECIPE_BYTES)) if path.exists() else {}
        if not isinstance(before, dict):
            raise ValueError(f"it holds a {type(before).__name__}, expected a table")
    except (OSError, ValueError, RecursionError) as error:
        advice = "remove it, and the run goes on with as many threads as suit this machine"
        raise ValueError(f"cannot read {path} ({error}): {advice}") from error
    threads = before.get("threads", 0) if before.get("processes", 1) == distributed.world_size() else 0
    return threads if type(threads) is int and 0 <= threads <= (os.cpu_count() or 1) else 0


def remove_partial_files(folder: Path) -> None:
    """Remove what a run that was killed had begun to write."""
    for kind in ("checkpoints", "samples", "snapshots/*"):
        for part in folder.glob(f"{kind}/[0-9]*.part"):
            part.unlink()


def write_json(path: Path, plain: Any) -> None:
    """Write plain data as JSON."""
    with durable_write(path) as part:
        part.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def check_same_recipe(recipe: Recipe, folder: Path) -> None:
    """Raise ValueError if the folder holds a run whose recipe differs in what may not change."""
    path = folder / "recipe.json"
    if not path.exists():
        return
    if changed := recipe_changes(load_recipe_file(path), recipe):
        raise ValueError(
            f"{folder} holds a run of another recipe ({', '.join(changed)}): name another folder with --run"
        )


def recipe_changes(before: Recipe, after: Recipe) -> list[str]:
    """In what two recipes differ that may not change when a run goes on, in words.

    Where the data is, and how many processes read it, may change: what it holds is for `refuse_other_data` to tell.
    """
    free = {name: getattr(after, name) for name in MUTABLE_FIELDS}
    if type(before.data) is type(after.data):
        moved = {name: getattr(after.data, name) for name in FREE_OF_DATA if hasattr(after.data, name)}
        free["data"] = replace(before.data, **moved)
    before = replace(before, **free)
    return [] if before == after else recipe_differences(to_dict(before), to_dict(after))


def refuse_other_data(recipe: Recipe, folder: Path, about: CheckpointInfo, source: DataSource) -> None:
    """Raise ValueError if the data is not what a run was trained on: by its fingerprint, or by its place where the run
    has none, which older ones have not."""
    check_data(about, source, folder)
    if about.data.images:
        return
    before, now = (
        getattr(with_absolute_root(each).data, "root", "") or "$LIMPID_DATA" for each in (about.recipe, recipe)
    )
    if before != now:
        why = "it does not say what identifies its data, so put it back there"
        raise ValueError(f"{folder} was trained on the data at {before}, and this is at {now}: {why}")


def check_no_rewarm(recipe: Recipe, folder: Path, seen: int) -> None:
    """Raise ValueError if the learning rate of a run has decayed after `seen` images, and would jump up as the run is
    made longer."""
    path = folder / "recipe.json"
    planned = load_recipe_file(path).duration if path.exists() else recipe.duration
    before, after = (lr_at(recipe.optimizer, seen, images) for images in (planned, recipe.duration))
    if recipe.duration > planned and after > before:
        raise ValueError(
            f"{folder} was planned for {planned:,} images, and with {recipe.duration:,} its learning rate would jump "
            f"from {before:.3g} to {after:.3g} after {seen:,}: train so long in another folder, or add --allow-rewarm"
        )


def recipe_differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Where two plain values differ, in words: `batch 128 -> 64`."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = dict.fromkeys([*before, *after])
        return [
            d for n in names for d in recipe_differences(before.get(n), after.get(n), f"{where}.{n}" if where else n)
        ]
    return [] if before == after else [f"{where} {before} -> {after}"]


def environment(runtime: Runtime) -> dict[str, Any]:
    """What a run was made with, for whoever asks later."""
    packages = {name: version(name) for name in ("limpid", "torch", "numpy", "pillow", "safetensors")}
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": str(runtime),
        "processes": distributed.world_size(),
        "threads": torch.get_num_threads() if runtime.device == "cpu" else 0,
        "processor": torch.cuda.get_device_name() if runtime.device.startswith("cuda") else platform.processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": packages,
    }
