"""Measuring speed: `limpid bench`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from limpid.bench.costs import bench as measured
from limpid.bench.costs import bench_table, bench_to_dict
from limpid.cli.parser import FLATTEN, parse, positional
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import find_recipe
from limpid.recipes.serialize import to_dict
from limpid.runtime import cpu
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.storage.atomic import atomic_write


@dataclass(frozen=True)
class BenchOptions:
    """Measure what a recipe costs here: images per second, memory, arithmetic, and the share of the device's peak."""

    recipe: Annotated[Recipe, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    rounds: int = 7
    """Turns that each measurement takes; the median counts."""
    seconds: float = 1.0
    """How long a turn lasts, at least."""
    json: str = ""
    """The file to write all figures to, if any."""


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {"limpid bench RECIPE": BenchOptions(Recipe())}


def main(arguments: Sequence[str]) -> int:
    """`limpid bench RECIPE [options]`."""
    name, rest = positional("bench", "RECIPE", arguments)
    options = parse(BenchOptions(find_recipe(name)), rest, f"limpid bench {name}")
    if options.rounds < 1 or options.seconds < 0:
        raise ValueError(
            f"--rounds {options.rounds} --seconds {options.seconds}: expected at least one turn, of no less than 0"
        )
    runtime = options.runtime.resolved(options.recipe.duration).configure_process()
    settled = "".join(f", {words}" for words in cpu.tune_process()) if runtime.device == "cpu" else ""
    echo(f"{name}, batch {options.recipe.batch_size}, on {runtime}{settled}")
    result = measured(options.recipe, runtime, options.rounds, options.seconds)
    echo(bench_table(result))
    if options.json:
        figures = {"name": name, "recipe": to_dict(options.recipe), "settled": cpu.tune_process()} | bench_to_dict(
            result
        )
        with atomic_write(options.json) as part:
            part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        echo(options.json)
    return 0
