"""Pictures of the process itself: `limpid show`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import find_recipe
from limpid.recipes.serialize import match_choice
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import output_folder
from limpid.sampling.figures import trajectory_strip
from limpid.sampling.labels import balanced_labels
from limpid.sampling.pipeline import load
from limpid.viz import show as pictures


@dataclass(frozen=True)
class ShowRecipe:
    """Draw what a recipe does to pictures, or its schedule."""

    recipe: Annotated[Recipe, FLATTEN]
    out: Path
    """The file to write."""


@dataclass(frozen=True)
class ShowForward:
    """Draw real pictures sinking into noise."""

    recipe: Annotated[Recipe, FLATTEN]
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


FIGURES = {"forward": "RECIPE", "schedule": "RECIPE", "data": "RECIPE", "trajectory": "RUN", "loss": "RUN"}
"""What can be shown, and of what."""


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {
        "limpid show forward RECIPE": ShowForward(Recipe(), Path("runs/RECIPE/forward.png")),
        "limpid show schedule RECIPE": ShowRecipe(Recipe(), Path("runs/RECIPE/schedule.png")),
        "limpid show data RECIPE": ShowRecipe(Recipe(), Path("runs/RECIPE/data.png")),
        "limpid show trajectory RUN": ShowTrajectory(Path("RUN/trajectory.png")),
        "limpid show loss RUN": ShowLoss(Path("RUN/loss.png")),
    }


def main(arguments: Sequence[str]) -> int:
    """`limpid show WHAT RECIPE [options]`."""
    what, rest = positional("show", f"WHAT ({', '.join(FIGURES)}) and a RECIPE or RUN", arguments)
    what = match_choice("picture", what, FIGURES)
    name, rest = positional(f"show {what}", FIGURES[what], rest)
    out = default_output(name, FIGURES[what]) / f"{what}.png"
    program = f"limpid show {what} {name}"
    if what == "forward":
        forward = parse(ShowForward(find_recipe(name), out), rest, program)
        echo(pictures.forward(forward.recipe, forward.out, forward.timesteps))
    elif FIGURES[what] == "RECIPE":
        options = parse(ShowRecipe(find_recipe(name), out), rest, program)
        echo((pictures.schedule if what == "schedule" else pictures.data)(options.recipe, options.out))
    elif what == "loss":
        echo(pictures.loss(Path(name), parse(ShowLoss(out), rest, program).out))
    else:
        walk, runtime = parse(ShowTrajectory(out), rest, program), Runtime().resolved().configure_process()
        pipeline, seeds = load(name, runtime=runtime), list(walk.seeds)
        labels = balanced_labels(len(seeds), len(pipeline.class_names))
        echo(trajectory_strip(pipeline, walk.out, seeds, labels))
    return 0


def default_output(name: str, kind: str) -> Path:
    """Where a picture of it belongs: what is drawn of a run, to that run's; of a recipe, to a folder of its name."""
    path = Path(name)
    if kind == "RUN":
        return output_folder(path)
    return path if path.is_dir() else Path("runs") / path.stem
