"""What each verb of the command takes, and does with it."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from limpid import show as pictures_of
from limpid.learning.machine import Machine
from limpid.options import INLINE, parse
from limpid.plain import choose
from limpid.recipe import Recipe, Sampling
from limpid.recipes import RECIPES, find
from limpid.run import run
from limpid.sample import draw, load


@dataclass(frozen=True)
class Train:
    """Train a recipe in a run folder, or go on where that run stopped."""

    recipe: Annotated[Recipe, INLINE]
    machine: Annotated[Machine, INLINE]
    run: Path
    """The folder that holds the run."""


def train(arguments: Sequence[str]) -> int:
    """`limpid train RECIPE [options]`."""
    name, rest = named("train", "RECIPE", arguments)
    folder = Path(name) if Path(name).is_dir() and name not in RECIPES else Path("runs") / Path(name).stem
    options = parse(Train(find(name), Machine(), folder), rest, f"limpid train {name}")
    return 0 if run(options.recipe, options.run, options.machine) else 130


@dataclass(frozen=True)
class Sample:
    """Draw new pictures from a run, from its newest checkpoint and its averaged weights."""

    n: int = 64
    """How many."""
    seed: int = 0
    """Seed of the first picture; the next one has the next seed."""
    labels: tuple[str, ...] = ()
    """Classes to draw, by name or number, in turn; all of them if none is given."""
    out: Path = Path("samples")
    """The folder to write to."""
    singles: bool = False
    """Also write every picture as a PNG of its own."""
    npz: bool = False
    """Also write all pictures and their labels as arrays."""
    animation: bool = False
    """Also write how the pictures come out of the noise, as WebP."""
    batch: int = 64
    """Pictures drawn at once."""
    weights: Literal["average", "model"] = "average"
    """Draw with the average of the weights or with the last of them."""
    sampling: Annotated[Sampling, INLINE] = Sampling()
    machine: Annotated[Machine, INLINE] = Machine()
