"""`limpid show`: figures of the diffusion process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from limpid.cli.inputs import output_file
from limpid.cli.parser import FLATTEN, choose_first, parse, positional
from limpid.cli.progress import evaluation_progress
from limpid.data import DataSource
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import find_recipe
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import output_folder
from limpid.sampling.evaluations import sampler_evaluations
from limpid.sampling.figures import trajectory_strip
from limpid.sampling.labels import balanced_labels
from limpid.sampling.pipeline import load
from limpid.sampling.training_data import data_warnings, open_data
from limpid.training.preflight import preflight
from limpid.viz import show as figures


@dataclass(frozen=True)
class ShowData:
    """Show the training images of a recipe, resized and augmented as the network sees them."""

    recipe: Annotated[Recipe, FLATTEN]
    out: Path
    """The file to write."""


@dataclass(frozen=True)
class ShowSchedule:
    """Plot the noise schedule of a recipe: alpha_bar, the signal-to-noise ratio and, in T steps, beta_t."""

    recipe: Annotated[Recipe, FLATTEN]
    out: Path
    """The file to write."""


@dataclass(frozen=True)
class ShowForward:
    """Show the forward process: training images with increasing noise."""

    recipe: Annotated[Recipe, FLATTEN]
    out: Path
    """The file to write."""
    timesteps: tuple[int, ...] = ()
    """The timesteps of the columns, in a schedule of T steps; if not given, at equal angles atan(sigma / alpha)."""


@dataclass(frozen=True)
class ShowLoss:
    """Plot the training loss of a run, and its scores if it has any."""

    out: Path
    """The file to write."""


@dataclass(frozen=True)
class ShowTrajectory:
    """Show the sampling trajectory from noise to samples, with the denoised estimate at each step."""

    out: Path
    """The file to write."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """The seeds of the samples whose trajectory is shown."""
    runtime: Annotated[Runtime, FLATTEN] = Runtime()


FIGURES = {"forward": "RECIPE", "schedule": "RECIPE", "data": "RECIPE", "trajectory": "RUN", "loss": "RUN"}
"""The figures, and whether each is of a recipe or of a run."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {
        "limpid show forward RECIPE": ShowForward(Recipe(), Path("runs/RECIPE/forward.png")),
        "limpid show schedule RECIPE": ShowSchedule(Recipe(), Path("runs/RECIPE/schedule.png")),
        "limpid show data RECIPE": ShowData(Recipe(), Path("runs/RECIPE/data.png")),
        "limpid show trajectory RUN": ShowTrajectory(Path("RUN/trajectory.png")),
        "limpid show loss RUN": ShowLoss(Path("RUN/loss.png")),
    }


def main(arguments: Sequence[str]) -> int:
    """`limpid show WHAT RECIPE [options]`."""
    what, rest = positional("show", "figure and a RECIPE or RUN", arguments, f"{'|'.join(FIGURES)} RECIPE-or-RUN")
    what = choose_first("show", "figure", what, FIGURES)
    name, rest = positional(f"show {what}", FIGURES[what], rest)
    out = default_output(name, FIGURES[what]) / f"{what}.png"
    program = f"limpid show {what} {name}"
    if what == "forward":
        forward = parse(ShowForward(find_recipe(name), out), rest, program)
        echo(figures.forward(forward.recipe, output_file(forward.out, "forward.png"), forward.timesteps))
    elif what == "schedule":
        options = parse(ShowSchedule(find_recipe(name), out), rest, program)
        echo(figures.schedule(options.recipe, output_file(options.out, "schedule.png")))
    elif what == "data":
        options = parse(ShowData(find_recipe(name), out), rest, program)
        source = check_trainable(options.recipe, Path(name).is_dir())
        echo("\n".join(source.description.facts()), to_stderr=True)
        for line in data_warnings(options.recipe, source):
            echo(f"warning: {line}", to_stderr=True)
        echo(figures.data(options.recipe, output_file(options.out, "data.png"), source))
    elif what == "loss":
        options = parse(ShowLoss(out), rest, program)
        if not Path(name).is_dir():
            raise ValueError(f"no run folder at {name}: the loss is plotted from the log.jsonl of a run")
        echo(figures.loss(Path(name), output_file(options.out, "loss.png")))
    else:
        options = parse(ShowTrajectory(out), rest, program)
        if not options.seeds:
            raise ValueError("--seeds is empty: expected at least one seed")
        runtime = options.runtime.resolve().setup()
        pipeline, seeds = load(name, runtime=runtime), list(options.seeds)
        labels = balanced_labels(len(seeds), len(pipeline.class_names))
        sampling = pipeline.for_preview().recipe.sampling
        with evaluation_progress(pipeline.model.net, sampler_evaluations(sampling.sampler, sampling.steps)):
            path = trajectory_strip(pipeline, output_file(options.out, "trajectory.png"), seeds, labels)
        echo(path)
    return 0


def check_trainable(recipe: Recipe, of_run: bool) -> DataSource:
    """The images of a recipe, or `of_run`, a run. Raises ValueError for a recipe that `limpid train` refuses."""
    source = open_data(recipe.data, "cpu", of_run=of_run)
    preflight(recipe, source.shape, len(source.class_names), Runtime("cpu").resolve())
    return source


def default_output(name: str, kind: str) -> Path:
    """The folder that a figure is written to: the run's for a run, runs/NAME for a recipe."""
    path = Path(name)
    if kind == "RUN":
        return output_folder(path)
    return path if path.is_dir() else Path("runs") / path.stem
