"""`limpid bench`: measure what a recipe costs on this machine."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from limpid.bench.costs import bench, bench_table, bench_to_dict
from limpid.cli.parser import FLATTEN, parse, positional
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import find_recipe
from limpid.recipes.serialize import to_dict
from limpid.runtime import cpu
from limpid.runtime.device import TrainingRuntime
from limpid.runtime.terminal import echo
from limpid.storage.atomic import atomic_write


@dataclass(frozen=True)
class BenchOptions:
    """Measure the cost of a recipe on this machine: images per second, memory, FLOPs, fraction of the peak FLOP/s."""

    recipe: Annotated[Recipe, FLATTEN]
    runtime: Annotated[TrainingRuntime, FLATTEN] = TrainingRuntime()
    rounds: int = 7
    """Rounds of the measurement; the table shows the median."""
    seconds: float = 1.0
    """Seconds per workload in each round, at least."""
    json: str = ""
    """A JSON file for all results; none if not given."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid bench RECIPE": BenchOptions(Recipe())}


def main(arguments: Sequence[str]) -> int:
    """`limpid bench RECIPE [options]`."""
    name, rest = positional("bench", "RECIPE", arguments)
    options = parse(BenchOptions(find_recipe(name)), rest, f"limpid bench {name}")
    if options.rounds < 1 or options.seconds < 0:
        given = f"--rounds {options.rounds} --seconds {options.seconds:g}"
        raise ValueError(f"{given}: expected at least 1 round, of 0 seconds or more")
    runtime = options.runtime.resolve(options.recipe.duration).setup()
    tuned = "".join(f", {words}" for words in cpu.tune_process()) if runtime.device == "cpu" else ""
    echo(f"{name}, batch {options.recipe.batch_size}, on {runtime}{tuned}")
    result = bench(options.recipe, runtime, options.rounds, options.seconds)
    echo(bench_table(result))
    if options.json:
        about = {"name": name, "recipe": to_dict(options.recipe), "settled": cpu.tune_process()}
        with atomic_write(options.json) as part:
            part.write_text(json.dumps(about | bench_to_dict(result), indent=1) + "\n", encoding="utf-8")
        echo(options.json)
    return 0
