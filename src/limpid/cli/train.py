"""Training: `limpid train`, `limpid average`, `limpid recipes`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import RECIPES, find_recipe
from limpid.runtime.device import Runtime
from limpid.training.run import run
from limpid.training.run_folder import previous_threads


@dataclass(frozen=True)
class Train:
    """Train a recipe in a run folder, or go on where that run stopped."""

    recipe: Annotated[Recipe, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN]
    run: Path
    """The folder that holds the run."""
    allow_rewarm: bool = False
    """Make a run longer although its learning rate has decayed for fewer images, and would jump up."""


def main(arguments: Sequence[str]) -> int:
    """`limpid train RECIPE [options]`."""
    name, rest = positional("train", "RECIPE", arguments)
    folder = Path(name) if Path(name).is_dir() and name not in RECIPES else Path("runs") / Path(name).stem
    options = parse(Train(find_recipe(name), Runtime(), folder), rest, f"limpid train {name}")
    threads = options.runtime.threads or previous_threads(options.run)
    replace(options.runtime, threads=threads).resolved(options.recipe.duration).configure_process()
    return 0 if run(options.recipe, options.run, options.runtime, options.allow_rewarm) else 130
