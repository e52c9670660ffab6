"""`limpid train`: train a recipe, or continue a run."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.cli.train_progress import ProgressDisplay
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import RECIPES, find_recipe
from limpid.runtime import distributed
from limpid.runtime.device import TrainingRuntime
from limpid.runtime.output import lossy_output
from limpid.runtime.terminal import echo
from limpid.sampling.training_data import open_data
from limpid.training.run import run
from limpid.training.run_folder import with_previous_choices
from limpid.training.trackers import Tracker, TrackerKind


@dataclass(frozen=True)
class Train:
    """Train a recipe in a run folder, or continue the run that is there."""

    recipe: Annotated[Recipe, FLATTEN]
    runtime: Annotated[TrainingRuntime, FLATTEN]
    run: Path
    """The run folder: checkpoints, samples and the log are written to it."""
    epochs: float = 0.0
    """How long to train in passes over the training images, in place of --duration; 0 is off."""
    allow_rewarm: bool = False
    """Allow a longer --duration after the learning rate has decayed, although the learning rate then jumps up."""
    track: tuple[TrackerKind, ...] = ()
    """Also send the log, sample grids, scores and recipe of the run to another program while it trains."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid train RECIPE": Train(Recipe(), TrainingRuntime(), Path("runs/RECIPE"))}


def main(arguments: Sequence[str]) -> int:
    """`limpid train RECIPE [options]`."""
    name, rest = positional("train", "RECIPE", arguments)
    folder = Path(name) if Path(name).is_dir() and name not in RECIPES else Path("runs") / Path(name).stem
    options = with_epochs(parse(Train(find_recipe(name), TrainingRuntime(), folder), rest, f"limpid train {name}"))
    if options.run.is_file():
        raise ValueError(f"--run {options.run} is a file: expected a folder, new or of a run")
    with_previous_choices(options.runtime, options.run).resolve(options.recipe.duration).setup()
    trackers = [Tracker(kind, options.run) for kind in dict.fromkeys(options.track)]
    finished = run(options.recipe, options.run, options.runtime, options.allow_rewarm, [ProgressDisplay(), *trackers])
    if distributed.is_main_process():
        with lossy_output():
            echo(next_step(options.run, finished))
    return 0 if finished else 130


def next_step(folder: Path, finished: bool) -> str:
    """The commands that use a finished run, or the one that continues a run that was stopped."""
    name = shlex.quote(str(folder))
    return f"next: limpid sample {name}, limpid evaluate {name}" if finished else f"to resume: limpid train {name}"


def with_epochs(options: Train) -> Train:
    """The options with the duration that `--epochs` gives. Raises ValueError for a number below 0, or no images."""
    if not options.epochs:
        return options
    if options.epochs < 0 or math.isinf(options.epochs):
        raise ValueError(f"--epochs {options.epochs:g}: expected a number above 0")
    n = len(open_data(options.recipe.data, "cpu", of_run=(options.run / "recipe.json").exists()))
    duration = max(1, round(options.epochs * n))
    if distributed.is_main_process():
        echo(f"--epochs {options.epochs:g} of {n:,} images: --duration {duration}")
    return replace(options, recipe=replace(options.recipe, duration=duration))
