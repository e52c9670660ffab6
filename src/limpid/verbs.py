"""What each verb of the command takes, and does with it."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid import show as pictures
from limpid.density import Protocol, density
from limpid.edit import EDITS, Edit
from limpid.edit import edit as change
from limpid.given import classes
from limpid.learning import checkpoint
from limpid.learning.average import combination, combined
from limpid.learning.machine import Machine
from limpid.options import INLINE, parse
from limpid.pictures.grid import grid, save, singles
from limpid.plain import choose
from limpid.recipe import Recipe, Sampling
from limpid.recipes import RECIPES, find
from limpid.run import run
from limpid.sample import Trained, load, recipe_of, sample, spread


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
    """Draw new pictures from the newest checkpoint of a run, or from one checkpoint."""

    out: Path
    """The folder to write to."""
    sampling: Annotated[Sampling, INLINE]
    machine: Annotated[Machine, INLINE] = Machine()
    n: int = 64
    """How many pictures."""
    seed: int = 0
    """Seed of the first picture; each has its own, the next the next."""
    labels: tuple[str, ...] = ()
    """Classes to draw, by name or number, in equal parts; all of them if none is given."""
    singles: bool = False
    """Also write every picture as a PNG of its own."""
    npz: bool = False
    """Also write all pictures, labels and seeds as arrays."""
    animation: bool = False
    """Also write how the pictures come out of the noise, as WebP."""
    batch: int = 64
    """Pictures drawn at a time."""
    weights: Literal["average", "model"] = "average"
    """The average of the weights along training, or the last of them."""


def draw(arguments: Sequence[str]) -> int:
    """`limpid sample RUN [options]`."""
    name, rest = named("sample", "RUN", arguments)
    path = Path(name)
    recipe = recipe_of(path)
    folder = path if path.is_dir() else path.parent.parent
    options = parse(Sample(folder / "drawn", recipe.sampling), rest, f"limpid sample {name}")
    if options.n < 1 or options.batch < 1:
        raise ValueError(f"--n {options.n} --batch {options.batch}: expected at least 1 of each")
    machine = options.machine.resolved()
    trained = load(path, machine, options.weights)
    trained = trained._replace(recipe=replace(trained.recipe, sampling=options.sampling))
    labels = labels_of(options.labels, trained, options.n)
    seeds = range(options.seed, options.seed + options.n)
    drawn = torch.cat(list(sample(trained.model, trained.recipe, seeds, trained.shape, machine, labels, options.batch)))
    for written in write(drawn, labels, seeds, options):
        print(written)
    if options.animation:
        print(pictures.denoising(trained, options.out / "denoising.webp", machine, seeds[:64], labels and labels[:64]))
    return 0


def labels_of(words: Sequence[str], trained: Trained, n: int) -> list[int] | None:
    """A label for each of n pictures: the classes named, or all there are, in equal blocks. Raises ValueError."""
    if not words:
        return spread(n, len(trained.names))
    chosen = classes(words, trained.names, len(words))
    return [chosen[block] for block in spread(n, len(chosen)) or []]


def write(drawn: UInt8[Tensor, "n c h w"], labels: list[int] | None, seeds: range, options: Sample) -> list[Path]:
    """The pictures as a grid, and in the other forms asked for."""
    classes = len(set(labels)) if labels else 0
    columns = len(drawn) // classes if classes and len(drawn) % classes == 0 else 0
    written = [save(grid(drawn, columns), options.out / "grid.png")]
    if options.singles:
        written += singles(drawn, options.out / "singles", [f"{seed:06d}" for seed in seeds])
    if options.npz:
        path = options.out / "pictures.npz"
        images = drawn.permute(0, 2, 3, 1).numpy()
        np.savez(path, images=images, seeds=np.array(seeds), labels=np.array(labels or [], dtype=np.int64))
        written.append(path)
    return written


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
    out = (Path(name) if Path(name).is_dir() else Path("runs") / Path(name).stem) / f"{what}.png"
    program = f"limpid show {what} {name}"
    if what == "forward":
        forward = parse(ShowForward(find(name), out), rest, program)
        print(pictures.forward(forward.recipe, forward.out, forward.timesteps))
    elif SHOWN[what] == "RECIPE":
        options = parse(ShowRecipe(find(name), out), rest, program)
        print((pictures.schedule if what == "schedule" else pictures.data)(options.recipe, options.out))
    elif what == "loss":
        print(pictures.loss(Path(name), parse(ShowLoss(out), rest, program).out))
    else:
        walk, machine = parse(ShowTrajectory(out), rest, program), Machine().resolved()
        trained, seeds = load(name, machine), list(walk.seeds)
        print(pictures.way(trained, walk.out, machine, seeds, spread(len(seeds), len(trained.names))))
    return 0


def recipes(arguments: Sequence[str]) -> int:
    """`limpid recipes`."""
    if arguments:
        raise ValueError(f"limpid recipes takes no options, but was given {' '.join(arguments)}")
    for name, recipe in RECIPES.items():
        print(f"{name}\n    " + inspect.cleandoc(recipe.__doc__ or "").replace("\n", "\n    ") + "\n")
    return 0


@dataclass(frozen=True)
class Rebuild:
    """Build the power-function average of any length from those that a run has kept (Karras et al. 2024)."""

    std: float = 0.1
    """Its relative length: the standard deviation of its memory, as a share of the run."""


def average(arguments: Sequence[str]) -> int:
    """`limpid average RUN [options]`."""
    name, rest = named("average", "RUN", arguments)
    options = parse(Rebuild(), rest, f"limpid average {name}")
    files = [file for folder in sorted(Path(name, "snapshots").glob("*")) for file in checkpoint.all_in(folder)]
    if not files:
        raise ValueError(f"{name} has kept no averages: train with --snapshots 0.05 0.1")
    data = [checkpoint.read_data(file) for file in files]
    seen = max(one["seen"] for one in data)
    shares = combination([(one["seen"], one["std"]) for one in data], (seen, options.std))
    tensors = combined([checkpoint.read_tensors(file) for file in files], shares)
    last = data[-1] | {"seen": seen, "std": options.std}
    print(checkpoint.save(Path(name, "averages", f"{options.std:.3f}"), seen, tensors, last))
    return 0


@dataclass(frozen=True)
class Likelihood:
    """Measure how likely a run finds real pictures, in bits per dimension."""

    protocol: Annotated[Protocol, INLINE] = Protocol()
    machine: Annotated[Machine, INLINE] = Machine()
    weights: Literal["average", "model"] = "average"
    """The average of the weights along training, or the last of them."""


def likelihood(arguments: Sequence[str]) -> int:
    """`limpid likelihood RUN [options]`."""
    name, rest = named("likelihood", "RUN", arguments)
    options = parse(Likelihood(), rest, f"limpid likelihood {name}")
    machine = options.machine.resolved()
    trained = load(name, machine, options.weights)
    print(f"{density(trained, options.protocol, machine)}; {options.weights} weights after {trained.seen:,} images")
    return 0


def edit(arguments: Sequence[str]) -> int:
    """`limpid edit WHAT RUN [options]`."""
    what, rest = named("edit", f"WHAT ({', '.join(EDITS)}) and a RUN", arguments)
    what = choose("edit", what, EDITS)
    name, rest = named(f"edit {what}", "RUN", rest)
    folder = Path(name) if Path(name).is_dir() else Path(name).parent.parent
    options = parse(Edit(folder / f"{what}.png"), rest, f"limpid edit {what} {name}")
    machine = Machine().resolved()
    print(change(what, load(name, machine), options, machine))
    return 0


def named(verb: str, what: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The name that a verb begins with, and the rest. Raises ValueError without one."""
    if not arguments or arguments[0].startswith("-"):
        names = f" ({', '.join(RECIPES)})" if what == "RECIPE" else ""
        raise ValueError(f"limpid {verb} needs a {what}{names}: limpid {verb} {what} [options]")
    return arguments[0], list(arguments[1:])
