"""Training: `limpid train`, `limpid average`, `limpid recipes`."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from limpid.folder import previous_threads
from limpid.learning import checkpoint
from limpid.learning.average import folder_name, linear_combination, solve_posthoc_coefficients
from limpid.learning.lock import waiting_lock
from limpid.learning.machine import Runtime
from limpid.options import FLATTEN, parse, positional
from limpid.recipe import Recipe
from limpid.recipes import RECIPES, find_recipe
from limpid.regular import refuse_linked_folders
from limpid.run import run
from limpid.terminal import echo


@dataclass(frozen=True)
class Train:
    """Train a recipe in a run folder, or go on where that run stopped."""

    recipe: Annotated[Recipe, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN]
    run: Path
    """The folder that holds the run."""
    allow_rewarm: bool = False
    """Make a run longer although its learning rate has decayed for fewer images, and would jump up."""


def train(arguments: Sequence[str]) -> int:
    """`limpid train RECIPE [options]`."""
    name, rest = positional("train", "RECIPE", arguments)
    folder = Path(name) if Path(name).is_dir() and name not in RECIPES else Path("runs") / Path(name).stem
    options = parse(Train(find_recipe(name), Runtime(), folder), rest, f"limpid train {name}")
    threads = options.runtime.threads or previous_threads(options.run)
    replace(options.runtime, threads=threads).resolved(options.recipe.duration).configure_process()
    return 0 if run(options.recipe, options.run, options.runtime, options.allow_rewarm) else 130


@dataclass(frozen=True)
class PosthocEma:
    """Build the power-function average of any length from those that a run has kept (Karras et al. 2024)."""

    std: float = 0.1
    """Its relative length: the standard deviation of its memory, as a share of the run."""


def average(arguments: Sequence[str]) -> int:
    """`limpid average RUN [options]`."""
    name, rest = positional("average", "RUN", arguments)
    options = parse(PosthocEma(), rest, f"limpid average {name}")
    refuse_linked_folders(Path(name))
    files = [
        file for folder in sorted(Path(name, "snapshots").glob("*")) for file in checkpoint.list_checkpoints(folder)
    ]
    if not files:
        raise ValueError(f"{name} has kept no averages: train with --ema-snapshots 0.05 0.1")
    data = [checkpoint.read_data(file) for file in files]
    seen = max(one["images_seen"] for one in data)
    shares = solve_posthoc_coefficients([(one["images_seen"], one["std"]) for one in data], (seen, options.std))
    tensors = linear_combination([checkpoint.read_tensors(file) for file in files], shares)
    last = data[-1] | {"images_seen": seen, "std": options.std}
    averages = Path(name, "averages")
    with waiting_lock(averages / "lock"):
        echo(checkpoint.save_checkpoint(averages / folder_name(options.std), seen, tensors, last))
    return 0


def recipes(arguments: Sequence[str]) -> int:
    """`limpid recipes`."""
    if arguments:
        raise ValueError(f"limpid recipes takes no options, but was given {' '.join(arguments)}")
    for name, recipe in RECIPES.items():
        echo(f"{name}\n    " + inspect.cleandoc(recipe.__doc__ or "").replace("\n", "\n    ") + "\n")
    return 0
