"""Pictures of the process itself: `limpid show`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from limpid import show as pictures
from limpid.learning.machine import Machine
from limpid.options import INLINE, parse
from limpid.plain import choose
from limpid.recipe import Recipe
from limpid.recipes import find
from limpid.sample import folder_of, load, spread
from limpid.terminal import echo
from limpid.verbs.names import named


@dataclass(frozen=True)
class ShowRecipe:
    """Draw what a recipe does to pictures, or its schedule."""

    recipe: Annotated[Recipe, INLINE]
    out: Path
    """The file to write."""


@dataclass(frozen=True)
class ShowForward:
    """Draw real pictures sinking into noise."""

    recipe: Annotated[Recipe, INLINE]
    out: Path
    """The file to write."""
    timesteps: tuple[int, ...] = ()
    """The columns, for a schedule of T steps; without any, equal steps of noise."""


@dataclass(frozen=True)
class ShowLoss:
    """Draw the loss of a run."""

    out: Path
    """The file to write."""


@dataclass(frozen=True)
class ShowTrajectory:
    """Draw the way from noise to pictures, and what the network sees on it."""

    out: Path
    """The file to write."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """The pictures whose way is drawn."""


SHOWN = {"forward": "RECIPE", "schedule": "RECIPE", "data": "RECIPE", "trajectory": "RUN", "loss": "RUN"}
"""What can be shown, and of what."""


def show(arguments: Sequence[str]) -> int:
    """`limpid show WHAT RECIPE [options]`."""
    what, rest = named("show", f"WHAT ({', '.join(SHOWN)}) and a RECIPE or RUN", arguments)
    what = choose("picture", what, SHOWN)
    name, rest = named(f"show {what}", SHOWN[what], rest)
    out = place_of(name, SHOWN[what]) / f"{what}.png"
    program = f"limpid show {what} {name}"
    if what == "forward":
        forward = parse(ShowForward(find(name), out), rest, program)
        echo(pictures.forward(forward.recipe, forward.out, forward.timesteps))
    elif SHOWN[what] == "RECIPE":
        options = parse(ShowRecipe(find(name), out), rest, program)
        echo((pictures.schedule if what == "schedule" else pictures.data)(options.recipe, options.out))
    elif what == "loss":
        echo(pictures.loss(Path(name), parse(ShowLoss(out), rest, program).out))
    else:
        walk, machine = parse(ShowTrajectory(out), rest, program), Machine().resolved().configure_process()
        trained, seeds = load(name, machine), list(walk.seeds)
        echo(pictures.way(trained, walk.out, machine, seeds, spread(len(seeds), len(trained.names))))
    return 0


def place_of(name: str, kind: str) -> Path:
    """Where a picture of it belongs: what is drawn of a run, to that run's; of a recipe, to a folder of its name."""
    path = Path(name)
    if kind == "RUN":
        return folder_of(path)
    return path if path.is_dir() else Path("runs") / path.stem
