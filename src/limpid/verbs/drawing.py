"""Drawing: `limpid sample` and `limpid edit`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid import show
from limpid.edit import EDITS, Edit
from limpid.edit import edit as change
from limpid.given import classes
from limpid.learning import parallel
from limpid.learning.machine import Machine
from limpid.options import INLINE, parse
from limpid.pictures.grid import grid, save, singles
from limpid.plain import choose
from limpid.provenance import data_of_run
from limpid.recipe import Sampling
from limpid.sample import Trained, find_checkpoint, folder_of, load_checkpoint, sample, spread
from limpid.sheets import sheet_classes, sheet_images, sheet_title
from limpid.terminal import echo
from limpid.verbs.names import guides_for, named
from limpid.whole import whole


@dataclass(frozen=True)
class Sample:
    """Draw new pictures from the newest checkpoint of a run, or from one checkpoint."""

    out: Path
    """The folder to write to."""
    sampling: Annotated[Sampling, INLINE]
    machine: Annotated[Machine, INLINE] = Machine()
    n: int = 80
    """How many pictures."""
    seed: int = 0
    """Seed of the first picture; each has its own, the next the next."""
    labels: tuple[str, ...] = ()
    """Classes to draw, in equal parts: by name, or by index (from 0) where no class is named so. All of them if none is
    given, or ten where there are more of them than pictures."""
    singles: bool = False
    """Also write every picture as a PNG of its own."""
    npz: bool = False
    """Also write all pictures, labels, what those are called, and seeds as arrays."""
    animation: bool = False
    """Also write how the pictures come out of the noise, as WebP."""
    batch: int = 80
    """Pictures drawn at a time."""
    weights: Literal["average", "model"] = "average"
    """The average of the weights along training, or the last of them."""


def draw(arguments: Sequence[str]) -> int:
    """`limpid sample RUN [options]`."""
    name, rest = named("sample", "RUN", arguments)
    path = Path(name)
    ref = find_checkpoint(path)
    options = parse(Sample(folder_of(path) / "drawn", ref.about.recipe.sampling), rest, f"limpid sample {name}")
    if options.n < 1 or options.batch < 1:
        raise ValueError(f"--n {options.n} --batch {options.batch}: expected at least 1 of each")
    machine = options.machine.resolved().configure_process()
    parallel.join(machine.device)
    ref, sampling = parallel.told(lambda: (ref, options.sampling))
    trained, (guide,) = load_checkpoint(ref, machine, options.weights), guides_for([sampling], machine)
    trained = trained._replace(recipe=replace(trained.recipe, sampling=sampling))
    labels = labels_of(options.labels, trained, options.n)
    seeds = range(options.seed, options.seed + options.n)
    what = (trained.model, trained.recipe, seeds, trained.shape, machine, labels, options.batch)
    drawn = torch.cat(list(sample(*what, each=parallel.in_turns, guide=guide)))
    if not parallel.first():
        return 0
    for written in write(drawn, labels, trained.names, seeds, options):
        echo(written)
    if options.animation:
        few = sheet_images(labels or [0] * options.n)[:80]
        some = [seeds[i] for i in few], labels and [labels[i] for i in few]
        echo(show.denoising(trained, options.out / "denoising.webp", machine, *some, guide))
    return 0


def labels_of(words: Sequence[str], trained: Trained, n: int) -> list[int] | None:
    """A label for each of n pictures, in equal blocks: of the classes named, or all there are. Raises ValueError.

    Where there are more of them than pictures, they are those that a sheet shows.
    """
    every = len(trained.names)
    chosen = sheet_classes(every) if n < every else list(range(every))
    if words:
        chosen = classes(words, trained.names, len(words))
    return [chosen[block] for block in spread(n, len(chosen)) or []] or None


def write(
    drawn: UInt8[Tensor, "n c h w"], labels: list[int] | None, names: Sequence[str], seeds: range, options: Sample
) -> list[Path]:
    """The pictures as a grid, and in the other forms asked for."""
    shown = sheet_images(labels or [0] * len(drawn))
    of = [labels[i] for i in shown] if labels else []
    title = sheet_title(of or shown, names, len(drawn))
    written = [save(grid(drawn[shown], rows=rows_of(of, names), title=title), options.out / "grid.png")]
    if options.singles:
        written += singles(drawn, options.out / "singles", [f"{seed:06d}" for seed in seeds])
    if options.npz:
        path = options.out / "pictures.npz"
        images = drawn.permute(0, 2, 3, 1).numpy()
        numbers = np.array(labels or [], dtype=np.int64)
        words = np.array(names, dtype=np.str_)
        with whole(path) as part, part.open("wb") as file:
            np.savez(file, images=images, seeds=np.array(seeds), labels=numbers, class_names=words)
        written.append(path)
    return written


def rows_of(labels: Sequence[int], names: Sequence[str]) -> list[str]:
    """What the rows of a grid are called that has one for each class; none unless all have as many, of several."""
    blocks = [(names[label], len(list(block))) for label, block in groupby(labels)]
    lengths = {length for _, length in blocks}
    return [name for name, _ in blocks] if len(lengths) == 1 and lengths != {1} else []


def edit(arguments: Sequence[str]) -> int:
    """`limpid edit WHAT RUN [options]`."""
    what, rest = named("edit", f"WHAT ({', '.join(EDITS)}) and a RUN", arguments)
    what = choose("edit", what, EDITS)
    name, rest = named(f"edit {what}", "RUN", rest)
    options = parse(Edit(folder_of(Path(name)) / f"{what}.png"), rest, f"limpid edit {what} {name}")
    machine, ref = Machine().resolved().configure_process(), find_checkpoint(name)
    trained = load_checkpoint(ref, machine)
    if options.data.root or any(word.isdecimal() for word in options.pictures):
        trained = trained.on(data_of_run(ref.about, options.data.root, name))
    echo(change(what, trained, options, machine))
    return 0
