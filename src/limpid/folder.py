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

from limpid import show
from limpid.data import Source
from limpid.gauge import Gauge
from limpid.learning import checkpoint, parallel, runlog
from limpid.learning.average import folder_name
from limpid.learning.machine import Machine
from limpid.learning.optim import lr_at
from limpid.learning.pace import StepTimes, advice
from limpid.learning.progress import Stop
from limpid.learning.runlog import Log, Meter
from limpid.learning.sharding import gathered, unequal
from limpid.learning.warning import warn
from limpid.learning.watch import Watch, Wrong, collapsed, leap
from limpid.plain import to_plain
from limpid.provenance import check_data
from limpid.recipe import Recipe, build, placed
from limpid.recipes import LONGEST, read
from limpid.regular import read_bytes, refuse_linked_folders
from limpid.sample import About, Trained, about_of
from limpid.terminal import echo
from limpid.train import Report, State, restore, start, tensors_of
from limpid.whole import durable, sync

# What may differ when a run goes on: how long it is, how pictures are drawn, and how often.
FREE = ("images", "sampling", "every")
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
    machine: Machine
    source: Source
    state: State
    meter: Meter
    watch: Watch
    log: Log
    run_id: str
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=20))
    """Those of the last lines of the log."""
    since: tuple[int, float] = (0, 0.0)
    """Images seen, and the clock, at the last line of the log."""
    step_times: StepTimes = field(default_factory=StepTimes)
    seconds_untimed: float = 0.0
    """Spent on what is no training: drawing, scoring, saving."""

    def clock(self) -> float:
        """Seconds of training, from some moment on."""
        return time.perf_counter() - self.seconds_untimed

    def note(self, report: Report) -> None:
        """Gather what a step tells, without waiting for it; say once what would help if steps have become slow."""
        if (slow := self.step_times.add(self.clock())) and parallel.first():
            with self.untimed():
                warn(f"{slow}: {advice(self.machine)}")
        self.meter.add(report.loss, report.rarity, report.logsnr)
        self.watch.see(report.place, report.loss, report.logsnr, report.gradient)

    def check(self) -> None:
        """Raise Diverged if a loss or gradient so far was no number: the weights are bad since then."""
        if wrong := self.watch.read():
            raise Diverged(wrong)

    def tell(self, report: Report) -> tuple[float, float]:
        """Write a line of the log; the mean loss and images per second since the last one."""
        self.check()
        (loss, parts), (seen, clock) = self.meter.read(), self.since
        self.since = report.seen, self.clock()
        speed = (report.seen - seen) / (self.since[1] - clock)
        if not parallel.first():
            return loss, speed
        line = {"seen": report.seen, "loss": loss, "rate": report.rate, "gradient": report.gradient.item()}
        with refusals("the log"):
            self.log.add(line | {"loss_by_logsnr": parts, "images_per_second": round(speed, 1)})
        if problem := leap(loss, self.losses):
            warn(f"{problem}, after {report.seen:,} images")
        self.losses.append(loss)
        return loss, speed

    def about(self) -> About:
        """What a checkpoint needs besides its tensors to be rebuilt alone."""
        state, source = self.state, self.source
        return About(
            *(state.seen, source.shape, source.names, self.recipe, state.place, state.left_out),
            class_counts=source.class_counts,
            run_id=self.run_id,
            data=source.fingerprint,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a run needs to go on; of sharded ones what this process holds."""
        return tensors_of(self.state) | {"meter": self.meter.total}

    def save(self, last: bool = False) -> None:
        """Write a checkpoint. If the disk refuses, the run goes on and tries at the next, unless this is the `last`.

        Raises OSError then, naming the last that is good; FloatingPointError if processes do not hold the same.
        """
        self.check()
        folder, milestone = self.folder / "checkpoints", self.recipe.every.milestone
        if differing := unequal(self.tensors()):
            raise FloatingPointError(f"the processes no longer hold the same {differing[0]}: are their machines alike?")
        tensors = gathered(self.tensors())
        if not parallel.first():
            return
        try:
            with self.untimed():
                self.log.sync()
                checkpoint.save(folder, self.state.seen, tensors, to_plain(self.about()), milestone=milestone)
        except OSError as error:
            if last:
                good = self.newest() or "none"
                raise OSError(f"cannot write a checkpoint ({error}); the last good one is {good}") from error
            warn(f"cannot write a checkpoint ({error}); going on, and trying again at the next")
        if self.recipe.every.score:
            with self.untimed(), refusals("the best checkpoint"):
                self.update_best()

    def keep(self) -> None:
        """Keep the power-function averages of this moment, in half precision."""
        self.check()
        with self.untimed(), refusals("an average"):
            for std, net in zip(self.recipe.snapshots, self.state.powers, strict=True):
                whole = gathered(net.state_dict())
                if parallel.first():
                    tensors = {f"average.{name}": value.half() for name, value in whole.items()}
                    folder, about = self.folder / "snapshots" / folder_name(std), replace(self.about(), std=std)
                    checkpoint.save(folder, about.seen, tensors, to_plain(about), keep=0)

    def draw(self, stop: Stop) -> None:
        """Draw the sample grid of this moment, from the same seeds as all of them, unless asked to stop meanwhile."""
        self.check()
        trained = self.trained()
        if not parallel.first():
            return
        with (
            self.untimed(),
            refusals("the samples", (OSError, FloatingPointError)),
            stop.abandoning(),
            self.machine.sampling_threads(),
        ):
            pixels = show.drawn(trained, self.machine)
            sync(show.samples(pixels, trained.names, self.grid))
            if problem := collapsed(pixels):
                warn(f"{problem}, after {self.state.seen:,} images")

    def score(self, stop: Stop) -> None:
        """Write the cheap score of this moment to the log, and keep its weights if none before scored better.

        Pictures or data that cannot be scored are warned of, and the run goes on without this score.
        """
        self.check()
        trained, tensors = self.trained(), gathered(self.tensors())
        if not parallel.first():
            return
        with self.untimed(), refusals("a score", UNSCORED), stop.abandoning():
            name, value = self.gauge.name, self.gauge.measure(trained, self.machine)
            before = [line[name] for line in self.scores]
            self.log.add({"seen": self.state.seen, name: value})
            if value < min(before, default=math.inf):
                checkpoint.save(self.folder / "best", self.state.seen, tensors, to_plain(self.about()), keep=0)
            self.update_best()

    @property
    def scores(self) -> list[runlog.Line]:
        """The lines of the log that hold a score."""
        return [line for line in self.log.lines() if self.gauge.name in line]

    def update_best(self) -> bool:
        """Make `best/` hold the checkpoint that scored best in the log, where a copy of it is left; whether it does.

        After a kill, or a disk that refused, it may hold another or none. The one before stays until no going back can
        take the score of the new one off the log again.
        """
        scores = [line for line in self.scores if math.isfinite(line[self.gauge.name])]
        if not scores:
            return True
        seen = min(scores, key=lambda line: line[self.gauge.name])["seen"]
        folder, checkpoints = self.folder / "best", self.folder / "checkpoints"
        best, saved = (place / checkpoint.file_name(seen) for place in (folder, checkpoints))
        if not best.exists() and saved.exists():
            with durable(best) as part:
                shutil.copyfile(saved, part)
        if best.exists() and any(int(file.stem) >= seen for file in checkpoint.all_in(checkpoints)):
            for other in checkpoint.all_in(folder):
                if other != best:
                    other.unlink()
        return best.exists()

    @property
    def scored(self) -> bool:
        """Whether this moment has its score."""
        return any(line["seen"] == self.state.seen for line in self.scores)

    @cached_property
    def gauge(self) -> Gauge:
        """What scores it; made when it is first asked for."""
        return Gauge(self.recipe, self.recipe.every.scored)

    @property
    def grid(self) -> Path:
        """The file of the sample grid of this moment."""
        return self.folder / "samples" / f"{self.state.seen:012d}.png"

    def newest(self) -> Path | None:
        """The last good checkpoint of this run."""
        return newest_of(self.recipe, self.folder, self.run_id)

    def trained(self) -> Trained:
        """The averaged network of this moment; all of it for the first process, where it is sharded."""
        average, shape, names = self.state.average, self.source.shape, self.source.names
        if self.machine.shard:
            tensors = gathered(average.net.state_dict())
            if parallel.first():
                with torch.random.fork_rng(devices=[]):  # weights are drawn, and then replaced
                    average = self.machine.place(build(self.recipe, shape, len(names))).eval()
                average.net.load_state_dict(tensors)
        names, counts = (names, self.source.class_counts) if self.recipe.conditional else ((), ())
        return Trained(average, self.recipe, shape, names, self.state.seen, counts)

    def resume(self, file: Path) -> None:
        """Put all back to where it was at a checkpoint, the log too. Raises ValueError if it is of another run.

        The first process reads it, and gives it to the others.
        """
        about = parallel.told(lambda: about_of(file))
        tensors = parallel.tensors_told(lambda: checkpoint.read_tensors(file))
        fixed = {name: value for name, value in self.tensors().items() if not name.startswith("optimizer.")}
        checkpoint.require({n: t for n, t in tensors.items() if not n.startswith("optimizer.")}, fixed, file)
        self.meter.total.copy_(tensors["meter"])
        try:
            restore(self.state, tensors)
        except (LookupError, ValueError, RuntimeError) as error:
            raise ValueError(f"{file} does not fit: {str(error).splitlines()[0]}") from error
        self.state.seen, self.state.place, self.state.left_out = about.seen, about.place, about.left_out
        self.watch = Watch(self.machine.device)
        self.losses.clear()
        if parallel.first():
            with refusals("the log"):
                self.log.cut(about.seen)
            self.losses.extend(line["loss"] for line in self.log.lines() if "loss" in line)
            if self.recipe.every.score:
                with refusals("the best checkpoint"):
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


class Diverged(FloatingPointError):
    """A loss or a gradient was no number."""

    def __init__(self, wrong: Wrong):
        super().__init__(str(wrong))
        self.wrong = wrong


@contextmanager
def refusals(what: str, kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Tells of a disk that refuses `what` is written in here, or of another of these errors; the run goes on."""
    try:
        yield
    except kinds as error:
        warn(f"cannot write {what} ({error}); going on")


def opened(recipe: Recipe, folder: Path, machine: Machine, source: Source, allow_rewarm: bool = False) -> Run:
    """The run of a folder where it stopped, or a new one.

    Raises ValueError if it is a run of another recipe, or of fewer images with a learning rate that has decayed for
    them, unless that is allowed.
    """
    if parallel.first():
        refuse_linked_folders(folder)
        refuse_another(recipe, folder)
    file = parallel.told(lambda: newest_of(recipe, folder, run_id_of(folder)))
    run_id = parallel.told(lambda: (about_of(file).run_id if file else "") or id_of(recipe))
    if parallel.first() and file:
        about = about_of(file)
        refuse_other_data(recipe, folder, about, source)
        if not allow_rewarm:
            refuse_rewarm(recipe, folder, about.seen)
    state = start(recipe, source.shape, len(source.names), machine)
    log = Log(folder / "log.jsonl")
    now = Run(recipe, folder, machine, source, state, Meter(machine.device), Watch(machine.device), log, run_id)
    if parallel.first():
        write(folder / "recipe.json", to_plain(recipe))
        write(folder / "environment.json", {"run_id": run_id} | environment(machine))
        tidy(folder)
    parameters = sum(weight.numel() for weight in state.model.parameters())
    echo(f"{folder}: {parameters:,} parameters, {recipe.images:,} images, on {machine}")
    if file:
        now.resume(file)
        if parallel.first():
            checkpoint.set_aside(file.parent, file)
        echo(f"going on after {state.seen:,} images")
    else:
        if parallel.first():
            log.cut(0)
        now.save(last=True)  # a disk that refuses checkpoints is found out now, and there is always one to go back to
    return now


def id_of(recipe: Recipe) -> str:
    """What tells runs apart: a hash of the recipe that a run was begun with, its length and sampling too.

    Two runs of one recipe are one run, to the bit, and so are their checkpoints.
    """
    return sha256(json.dumps(to_plain(recipe), sort_keys=True).encode()).hexdigest()[:16]


def run_id_of(folder: Path) -> str:
    """Which run the folder says it holds; empty if it does not say."""
    try:
        plain = json.loads(read_bytes(folder / "environment.json", LONGEST))
    except (OSError, ValueError, RecursionError):
        return ""
    run_id = plain.get("run_id", "") if isinstance(plain, dict) else ""
    return run_id if isinstance(run_id, str) else ""


def newest_of(recipe: Recipe, folder: Path, run_id: str) -> Path | None:
    """The last good checkpoint in a folder that is of this run: of its recipe, and of its id where both are known.

    Those after it that are not are named. Raises as `checkpoint.newest` does.
    """

    def check(file: Path) -> None:
        about = about_of(file)
        if changed := changes(about.recipe, recipe):
            raise checkpoint.Foreign(f"{file} is of a run of another recipe ({', '.join(changed)})")
        if run_id and about.run_id not in ("", run_id):
            raise checkpoint.Foreign(f"{file} is of run {about.run_id}, and this is {run_id}")

    return checkpoint.newest(folder / "checkpoints", check)


def threads_of(folder: Path) -> int:
    """On how many CPU threads a run was begun, which its last bits depend on; 0 if unknown, or too many here, or begun
    by another number of processes. Raises ValueError, naming the file that says so, if that is damaged."""
    path = folder / "environment.json"
    try:
        before = json.loads(read_bytes(path, LONGEST)) if path.exists() else {}
        if not isinstance(before, dict):
            raise ValueError(f"it holds a {type(before).__name__}, expected a table")
    except (OSError, ValueError, RecursionError) as error:
        advice = "remove it, and the run goes on with as many threads as suit this machine"
        raise ValueError(f"cannot read {path} ({error}): {advice}") from error
    threads = before.get("threads", 0) if before.get("processes", 1) == parallel.count() else 0
    return threads if type(threads) is int and 0 <= threads <= (os.cpu_count() or 1) else 0


def tidy(folder: Path) -> None:
    """Remove what a run that was killed had begun to write."""
    for kind in ("checkpoints", "samples", "snapshots/*"):
        for part in folder.glob(f"{kind}/[0-9]*.part"):
            part.unlink()


def write(path: Path, plain: Any) -> None:
    """Write plain data as JSON."""
    with durable(path) as part:
        part.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def refuse_another(recipe: Recipe, folder: Path) -> None:
    """Raise ValueError if the folder holds a run whose recipe differs in what may not change."""
    path = folder / "recipe.json"
    if not path.exists():
        return
    if changed := changes(read(path), recipe):
        raise ValueError(
            f"{folder} holds a run of another recipe ({', '.join(changed)}): name another folder with --run"
        )


def changes(before: Recipe, after: Recipe) -> list[str]:
    """In what two recipes differ that may not change when a run goes on, in words.

    Where the data is, and how many processes read it, may change: what it holds is for `refuse_other_data` to tell.
    """
    free = {name: getattr(after, name) for name in FREE}
    if type(before.data) is type(after.data):
        moved = {name: getattr(after.data, name) for name in FREE_OF_DATA if hasattr(after.data, name)}
        free["data"] = replace(before.data, **moved)
    before = replace(before, **free)
    return [] if before == after else differences(to_plain(before), to_plain(after))


def refuse_other_data(recipe: Recipe, folder: Path, about: About, source: Source) -> None:
    """Raise ValueError if the data is not what a run was trained on: by its fingerprint, or by its place where the run
    has none, which older ones have not."""
    check_data(about, source, folder)
    if about.data.images:
        return
    before, now = (getattr(placed(each).data, "root", "") or "$LIMPID_DATA" for each in (about.recipe, recipe))
    if before != now:
        why = "it does not say what identifies its data, so put it back there"
        raise ValueError(f"{folder} was trained on the data at {before}, and this is at {now}: {why}")


def refuse_rewarm(recipe: Recipe, folder: Path, seen: int) -> None:
    """Raise ValueError if the learning rate of a run has decayed after `seen` images, and would jump up as the run is
    made longer."""
    path = folder / "recipe.json"
    planned = read(path).images if path.exists() else recipe.images
    before, after = (lr_at(recipe.optimizer, seen, images) for images in (planned, recipe.images))
    if recipe.images > planned and after > before:
        raise ValueError(
            f"{folder} was planned for {planned:,} images, and with {recipe.images:,} its learning rate would jump "
            f"from {before:.3g} to {after:.3g} after {seen:,}: train so long in another folder, or add --allow-rewarm"
        )


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Where two plain values differ, in words: `batch 128 -> 64`."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = dict.fromkeys([*before, *after])
        return [d for n in names for d in differences(before.get(n), after.get(n), f"{where}.{n}" if where else n)]
    return [] if before == after else [f"{where} {before} -> {after}"]


def environment(machine: Machine) -> dict[str, Any]:
    """What a run was made with, for whoever asks later."""
    packages = {name: version(name) for name in ("limpid", "torch", "numpy", "pillow", "safetensors")}
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": str(machine),
        "processes": parallel.count(),
        "threads": torch.get_num_threads() if machine.device == "cpu" else 0,
        "processor": torch.cuda.get_device_name() if machine.device.startswith("cuda") else platform.processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": packages,
    }
