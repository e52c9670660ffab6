"""The shell around `train`: a folder that holds a run, which logs, draws, saves, stops when asked and goes on later."""

import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from limpid import show
from limpid.data import Source
from limpid.learning import checkpoint, runlog
from limpid.learning.machine import Machine
from limpid.learning.progress import Display, stoppable
from limpid.plain import to_plain
from limpid.recipe import Recipe
from limpid.recipes import read
from limpid.sample import Trained
from limpid.train import Report, State, restore, start, tensors_of, train

# What may differ when a run goes on: how long it is, how pictures are drawn, and how often.
FREE = ("images", "sampling", "every")


@dataclass
class Run:
    """A run that is going on, and the folder that holds it."""

    recipe: Recipe
    folder: Path
    machine: Machine
    source: Source
    state: State
    meter: runlog.Meter
    since: tuple[int, float] = field(default_factory=lambda: (0, 0.0))
    """Images seen, and the clock, at the last line of the log."""

    def log(self, report: Report) -> tuple[float, float]:
        """Write a line of the log; the mean loss and images per second since the last one."""
        self.check(report)
        loss, (seen, clock) = self.meter.read(), self.since
        self.since = report.seen, time.perf_counter()
        speed = (report.seen - seen) / (self.since[1] - clock)
        line = {"seen": report.seen, "loss": loss, "rate": report.rate, "gradient": report.gradient.item()}
        runlog.append(self.folder / "log.jsonl", line | {"images_per_second": round(speed, 1)})
        return loss, speed

    def check(self, report: Report) -> None:
        """Raise FloatingPointError if a loss since the last line or this gradient is no number: the weights are bad."""
        loss, gradient = self.meter.total[0].item(), report.gradient.item()
        if not (math.isfinite(loss) and math.isfinite(gradient)):
            what = f"loss {loss}, gradient {gradient} at {report.seen:,} images"
            raise FloatingPointError(f"{what}; the last checkpoint is {checkpoint.newest(self.folder / 'checkpoints')}")

    def untimed(self, act: Callable[[], None]) -> None:
        """Do something that does not count as training when speed is measured."""
        begin = time.perf_counter()
        act()
        self.since = self.since[0], self.since[1] + time.perf_counter() - begin

    def about(self) -> checkpoint.Plain:
        """What a checkpoint needs besides its tensors to be rebuilt alone."""
        source, recipe = self.source, to_plain(self.recipe)
        return {"seen": self.state.seen, "shape": list(source.shape), "names": list(source.names), "recipe": recipe}

    def save(self) -> None:
        """Write a checkpoint."""
        tensors = tensors_of(self.state) | {"meter": self.meter.total}
        checkpoint.save(self.folder / "checkpoints", self.state.seen, tensors, self.about())

    def keep(self) -> None:
        """Keep the power-function averages of this moment, in half precision."""
        for std, net in zip(self.recipe.snapshots, self.state.powers, strict=True):
            tensors = {f"average.{name}": value.half() for name, value in net.state_dict().items()}
            data = self.about() | {"std": std}
            checkpoint.save(self.folder / "snapshots" / f"{std:.3f}", self.state.seen, tensors, data, keep=0)

    def draw(self) -> None:
        """Draw the sample grid of this moment, from the same seeds as all of them."""
        show.samples(self.trained(), self.folder / "samples" / f"{self.state.seen:012d}.png", self.machine)

    def trained(self) -> Trained:
        """The averaged network of this moment."""
        names = self.source.names if self.recipe.conditional else ()
        return Trained(self.state.average, self.recipe, self.source.shape, names, self.state.seen)


def run(recipe: Recipe, folder: Path, machine: Machine) -> bool:
    """Train `recipe` in `folder`, from its newest checkpoint if there is one; whether it came to its end.

    Raises ValueError if the folder holds a run of another recipe, FloatingPointError if the loss is no longer a number.
    """
    now = opened(recipe, folder, machine.resolved())
    ended = follow(now)
    if not ended:
        print(f"stopped after {now.state.seen:,} images, and saved: the same command goes on from there")
        return False
    print("drawing what it has learnt")
    for path in show.results(now.trained(), folder, now.machine):
        print(f"  {path}")
    return True


def follow(now: Run) -> bool:
    """Train to the end or until asked to stop, logging, drawing and saving on the way; whether it came to the end."""
    recipe, every = now.recipe, now.recipe.every
    now.since = now.state.seen, time.perf_counter()
    with stoppable() as stop, Display(recipe.images, now.state.seen) as display:
        for report in train(now.state, recipe, now.source, now.machine):
            now.meter.add(report.loss)
            display.advance(report.seen)
            ended = report.seen >= recipe.images
            if passes(report.seen, recipe.batch, every.log) or ended:
                display.tell(report.seen, *now.log(report))
            if passes(report.seen, recipe.batch, every.sample):
                now.untimed(now.draw)
            if passes(report.seen, recipe.batch, every.snapshot) or ended:
                now.untimed(now.keep)
            if passes(report.seen, recipe.batch, every.save) or ended or stop.asked:
                now.check(report)
                now.untimed(now.save)
            if stop.asked:
                break
    return now.state.seen >= recipe.images


def passes(seen: int, batch: int, period: int) -> bool:
    """Whether the last batch took the count of images to or past a multiple of `period`; 0 is never."""
    return period > 0 and seen // period > (seen - batch) // period


def opened(recipe: Recipe, folder: Path, machine: Machine) -> Run:
    """The run of a folder where it stopped, or a new one. Raises ValueError if it is a run of another recipe."""
    refuse_another(recipe, folder)
    source = recipe.data.open(machine.device)
    now = Run(
        recipe,
        folder,
        machine,
        source,
        start(recipe, source.shape, len(source.names), machine),
        runlog.Meter(machine.device),
    )
    if last := checkpoint.newest(folder / "checkpoints"):
        seen = checkpoint.read_data(last)["seen"]
        tensors = checkpoint.read_tensors(last)
        now.meter.total.copy_(tensors.pop("meter"))
        restore(now.state, seen, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    runlog.cut(folder / "log.jsonl", now.state.seen)
    (folder / "recipe.json").write_text(json.dumps(to_plain(recipe), indent=2) + "\n", encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(environment(machine), indent=2) + "\n", encoding="utf-8")
    parameters = sum(weight.numel() for weight in now.state.model.parameters())
    print(f"{folder}: {parameters:,} parameters, {recipe.images:,} images, on {machine}")
    if now.state.seen:
        print(f"going on after {now.state.seen:,} images")
    return now


def refuse_another(recipe: Recipe, folder: Path) -> None:
    """Raise ValueError if the folder holds a run whose recipe differs in what may not change."""
    path = folder / "recipe.json"
    if not path.exists():
        return
    before = read(path)
    allowed = {name: getattr(recipe, name) for name in FREE}
    if replace(before, **allowed) != recipe:
        changed = ", ".join(differences(to_plain(replace(before, **allowed)), to_plain(recipe)))
        raise ValueError(f"{folder} holds a run of another recipe ({changed}): name another folder with --run")


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
        "processor": torch.cuda.get_device_name() if machine.device.startswith("cuda") else platform.processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": packages,
    }
