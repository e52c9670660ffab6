"""Drawing: `limpid sample` and `limpid edit`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.recipes.recipe import Sampling
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import find_checkpoint, load_guides, output_folder
from limpid.sampling.figures import denoising_animation
from limpid.sampling.pipeline import load_checkpoint
from limpid.sampling.samples import Samples
from limpid.viz.class_sheets import sheet_images
from limpid.viz.image_grid import save_png


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
    pipeline = load_checkpoint(ref, runtime, options.weights).with_sampling(sampling)
    pipeline = replace(pipeline, guide=load_guides([sampling], runtime)[0])
    labels = pipeline.label_indices(options.labels or None, options.num_samples)
    seeds = range(options.seed, options.seed + options.num_samples)
    batches = pipeline.sample_batches(seeds, labels, options.batch_size, map_fn=distributed.parallel_map)
    pixels = torch.cat(list(batches))
    if not distributed.is_main_process():
        return 0
    samples = Samples(pixels, None if labels is None else tuple(labels), tuple(seeds), pipeline.class_names)
    for path in save_outputs(samples, options):
        echo(path)
    if options.animation:
        shown = sheet_images(labels or [0] * len(samples))[:80]
        animated = [seeds[i] for i in shown], labels and [labels[i] for i in shown]
        echo(denoising_animation(pipeline, options.out / "denoising.webp", *animated))
    return 0


def save_outputs(samples: Samples, options: Sample) -> list[Path]:
    """The samples as a grid, and in the other forms asked for."""
    files = [save_png(samples.grid(), options.out / "grid.png")]
    if options.save_images:
        files += samples.save(options.out / "singles")
    if options.npz:
        files.append(samples.to_npz(options.out / "pictures.npz"))
    return files
