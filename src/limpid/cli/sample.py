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

from limpid.cli.inputs import parse_labels
from limpid.cli.parser import FLATTEN, parse, positional
from limpid.recipes.recipe import Sampling
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.load import Pipeline, find_checkpoint, guides_for, load_checkpoint, output_folder
from limpid.sampling.sample import balanced_labels, sample
from limpid.storage.atomic import atomic_write
from limpid.viz import show
from limpid.viz.class_sheets import sheet_classes, sheet_images, sheet_title
from limpid.viz.image_grid import image_grid, save_images, save_png


@dataclass(frozen=True)
class Sample:
    """Draw new pictures from the newest checkpoint of a run, or from one checkpoint."""

    out: Path
    """The folder to write to."""
    sampling: Annotated[Sampling, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    num_samples: int = 80
    """How many pictures."""
    seed: int = 0
    """Seed of the first picture; each has its own, the next the next."""
    labels: tuple[str, ...] = ()
    """Classes to draw, in equal parts: by name, or by index (from 0) where no class is named so. All of them if none is
    given, or ten where there are more of them than pictures."""
    save_images: bool = False
    """Also write every picture as a PNG of its own."""
    npz: bool = False
    """Also write all pictures, labels, what those are called, and seeds as arrays."""
    animation: bool = False
    """Also write how the pictures come out of the noise, as WebP."""
    batch_size: int = 80
    """Pictures drawn at a time."""
    weights: Literal["ema", "raw"] = "ema"
    """The average of the weights along training, or the last of them."""


def default_options() -> dict[str, object]:
    """The options of the command, by what is typed before them."""
    return {"limpid sample RUN": Sample(Path("RUN/drawn"), Sampling())}


def main(arguments: Sequence[str]) -> int:
    """`limpid sample RUN [options]`."""
    name, rest = positional("sample", "RUN", arguments)
    path = Path(name)
    ref = find_checkpoint(path)
    options = parse(Sample(output_folder(path) / "drawn", ref.about.recipe.sampling), rest, f"limpid sample {name}")
    if options.num_samples < 1 or options.batch_size < 1:
        raise ValueError(f"--n {options.num_samples} --batch-size {options.batch_size}: expected at least 1 of each")
    runtime = options.runtime.resolved().configure_process()
    distributed.init(runtime.device)
    ref, sampling = distributed.broadcast_object(lambda: (ref, options.sampling))
    pipeline, (guide,) = load_checkpoint(ref, runtime, options.weights), guides_for([sampling], runtime)
    pipeline = pipeline._replace(recipe=replace(pipeline.recipe, sampling=sampling))
    labels = sample_labels(options.labels, pipeline, options.num_samples)
    seeds = range(options.seed, options.seed + options.num_samples)
    what = (pipeline.model, pipeline.recipe, seeds, pipeline.image_shape, runtime, labels, options.batch_size)
    drawn = torch.cat(list(sample(*what, map_fn=distributed.parallel_map, guide=guide)))
    if not distributed.is_main_process():
        return 0
    for written in save_outputs(drawn, labels, pipeline.class_names, seeds, options):
        echo(written)
    if options.animation:
        few = sheet_images(labels or [0] * options.num_samples)[:80]
        some = [seeds[i] for i in few], labels and [labels[i] for i in few]
        echo(show.denoising_animation(pipeline, options.out / "denoising.webp", runtime, *some, guide))
    return 0


def sample_labels(words: Sequence[str], pipeline: Pipeline, n: int) -> list[int] | None:
    """A label for each of n pictures, in equal blocks: of the classes named, or all there are. Raises ValueError.

    Where there are more of them than pictures, they are those that a sheet shows.
    """
    every = len(pipeline.class_names)
    chosen = sheet_classes(every) if n < every else list(range(every))
    if words:
        chosen = parse_labels(words, pipeline.class_names, len(words))
    return [chosen[block] for block in balanced_labels(n, len(chosen)) or []] or None


def save_outputs(
    drawn: UInt8[Tensor, "n c h w"], labels: list[int] | None, names: Sequence[str], seeds: range, options: Sample
) -> list[Path]:
    """The pictures as a grid, and in the other forms asked for."""
    shown = sheet_images(labels or [0] * len(drawn))
    of = [labels[i] for i in shown] if labels else []
    title = sheet_title(of or shown, names, len(drawn))
    written = [
        save_png(image_grid(drawn[shown], row_labels=row_labels(of, names), title=title), options.out / "grid.png")
    ]
    if options.save_images:
        written += save_images(drawn, options.out / "singles", [f"{seed:06d}" for seed in seeds])
    if options.npz:
        path = options.out / "pictures.npz"
        images = drawn.permute(0, 2, 3, 1).numpy()
        numbers = np.array(labels or [], dtype=np.int64)
        words = np.array(names, dtype=np.str_)
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, images=images, seeds=np.array(seeds), labels=numbers, class_names=words)
        written.append(path)
    return written


def row_labels(labels: Sequence[int], names: Sequence[str]) -> list[str]:
    """What the rows of a grid are called that has one for each class; none unless all have as many, of several."""
    blocks = [(names[label], len(list(block))) for label, block in groupby(labels)]
    lengths = {length for _, length in blocks}
    return [name for name, _ in blocks] if len(lengths) == 1 and lengths != {1} else []
