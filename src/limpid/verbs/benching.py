"""Measuring speed: `limpid bench`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from limpid.bench import bench as measured
from limpid.bench import plain, table
from limpid.learning import cpu
from limpid.learning.machine import Machine
from limpid.options import INLINE, parse
from limpid.plain import to_plain
from limpid.recipe import Recipe
from limpid.recipes import find
from limpid.terminal import echo
from limpid.verbs.names import named
from limpid.whole import whole


@dataclass(frozen=True)
class Bench:
    """Measure what a recipe costs here: images per second, memory, arithmetic, and the share of the device's peak."""

    recipe: Annotated[Recipe, INLINE]
    machine: Annotated[Machine, INLINE] = Machine()
    rounds: int = 7
    """Turns that each measurement takes; the median counts."""
    seconds: float = 1.0
    """How long a turn lasts, at least."""
    json: str = ""
    """The file to write all figures to, if any."""


def bench(arguments: Sequence[str]) -> int:
    """`limpid bench RECIPE [options]`."""
    name, rest = named("bench", "RECIPE", arguments)
    options = parse(Bench(find(name)), rest, f"limpid bench {name}")
    if options.rounds < 1 or options.seconds < 0:
        raise ValueError(
            f"--rounds {options.rounds} --seconds {options.seconds}: expected at least one turn, of no less than 0"
        )
    machine = options.machine.resolved(options.recipe.images).configure_process()
    settled = "".join(f", {words}" for words in cpu.settle()) if machine.device == "cpu" else ""
    echo(f"{name}, batch {options.recipe.batch}, on {machine}{settled}")
    result = measured(options.recipe, machine, options.rounds, options.seconds)
    echo(table(result))
    if options.json:
        figures = {"name": name, "recipe": to_plain(options.recipe), "settled": cpu.settle()} | plain(result)
        with whole(options.json) as part:
            part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        echo(options.json)
    return 0
