"""`limpid sample`: generate samples from a run."""

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch

from limpid.cli.parser import FLATTEN, parse, positional
from limpid.cli.progress import evaluation_progress
from limpid.data.readers.file_kinds import SUFFIXES
from limpid.recipes.recipe import Sampling
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.terminal import echo
from limpid.sampling.checkpoints import PRETRAINED_DIR, CheckpointRef, find_checkpoint, load_guides, output_folder
from limpid.sampling.evaluations import sampler_evaluations
from limpid.sampling.figures import denoising_animation
from limpid.sampling.first_step import check_first_step
from limpid.sampling.pipeline import load_checkpoint
from limpid.sampling.samples import Samples
from limpid.training.progress import duration
from limpid.viz.class_sheets import sheet_images
from limpid.viz.image_grid import num_shown, save_png


@dataclass(frozen=True)
class Sample:
    """Generate samples from the latest checkpoint of a run, or from one checkpoint."""

    out: Path
    """The folder to write to, or the .png of the grid."""
    sampling: Annotated[Sampling, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    num_samples: int = 80
    """Number of samples."""
    seed: int = 0
    """Seed of the first sample; the following samples have the following seeds."""
    labels: tuple[str, ...] = ()
    """Classes to sample, in equal parts: by name, or by index (from 0).
    If not given, all classes, or ten of them if there are more classes than samples."""
    save_images: bool = False
    """Also write each sample as a PNG file."""
    npz: bool = False
    """Also write an .npz of all samples with their labels, class names and seeds."""
    animation: bool = False
    """Also write an animation of the denoising, as WebP."""
    batch_size: int = 80
    """Samples generated at a time."""
    weights: Literal["ema", "raw"] = "ema"
    """The EMA of the weights, or the raw weights of the last step."""
    overwrite: bool = False
    """Replace earlier samples; without it new ones get a number, as in grid-2.png."""


def default_options() -> dict[str, object]:
    """The default options of the command, by the words that come before them."""
    return {"limpid sample RUN": Sample(Path("RUN/drawn"), Sampling())}


def main(arguments: Sequence[str]) -> int:
    """`limpid sample RUN [options]`."""
    name, rest = positional("sample", "RUN", arguments)
    path = Path(name)
    ref = find_checkpoint(path)
    options = parse(Sample(output_folder(path) / "drawn", ref.about.recipe.sampling), rest, f"limpid sample {name}")
    if options.num_samples < 1 or options.batch_size < 1:
        raise ValueError(
            f"--num-samples {options.num_samples} --batch-size {options.batch_size}: expected at least 1 of each"
        )
    if not is_folder_or_png(options.out):
        raise ValueError(f"--out {options.out}: expected a folder, or a .png of the grid")
    if options.save_images and num_shown(channels := ref.about.image_shape[0]) != channels:
        raise ValueError(f"--save-images: a PNG holds 1, 3 or 4 channels, and this run's have {channels}; use --npz")
    runtime = options.runtime.resolve().setup()
    distributed.init(runtime.device)
    ref, sampling = distributed.broadcast_object(lambda: (ref, options.sampling))
    pipeline = load_checkpoint(ref, runtime, options.weights).with_sampling(sampling)
    pipeline = replace(pipeline, guide=load_guides([sampling], runtime)[0])
    labels = pipeline.label_indices(options.labels or None, options.num_samples)
    check_first_step(pipeline, labels)
    seeds = range(options.seed, options.seed + options.num_samples)
    names = output_names(options)
    if distributed.is_main_process():
        ensure_writable(names.grid.parent)  # before minutes of sampling
        echo(checkpoint_line(ref, options.weights), to_stderr=True)
    batches = pipeline.sample_batches(seeds, labels, options.batch_size, map_fn=distributed.parallel_map)
    num_batches = -(-options.num_samples // options.batch_size)
    evaluations = -(-num_batches // distributed.world_size()) * sampler_evaluations(sampling.sampler, sampling.steps)
    with evaluation_progress(pipeline.model.net, evaluations):
        pixels = torch.cat(list(batches))
    if not distributed.is_main_process():
        return 0
    samples = Samples(pixels, None if labels is None else tuple(labels), tuple(seeds), pipeline.class_names)
    for path in save_outputs(samples, options, names):
        echo(path)
    if options.animation:
        shown = sheet_images(labels or [0] * len(samples))[:80]
        shown_seeds, shown_labels = [seeds[i] for i in shown], labels and [labels[i] for i in shown]
        preview = pipeline.for_preview().recipe.sampling
        with evaluation_progress(pipeline.model.net, sampler_evaluations(preview.sampler, preview.steps)):
            denoising_animation(pipeline, names.animation, shown_seeds, shown_labels)
        echo(names.animation)
    return 0


def is_folder_or_png(out: Path) -> bool:
    """Whether `--out` is a folder, new or not, or a .png; the name of another kind of file is a mistake."""
    file = out.is_file() or out.suffix.lower() in (*SUFFIXES, ".npz")
    return out.is_dir() or out.suffix.lower() == ".png" or not file


def ensure_writable(folder: Path) -> None:
    """Create a folder if it does not exist. Raises OSError if that fails, or if files cannot be written to it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


class OutputNames(NamedTuple):
    """The files of samples, and the folder of single images."""

    grid: Path
    arrays: Path
    animation: Path
    images: Path


def output_names(options: Sample) -> OutputNames:
    """File names in the folder of `out` that no earlier samples have, or with `overwrite` the same names."""
    is_file = options.out.suffix.lower() == ".png" and not options.out.is_dir()
    grid = options.out if is_file else options.out / "grid.png"
    folder = grid.parent
    first = OutputNames(grid, folder / "samples.npz", folder / "denoising.webp", folder / "images")
    for number in count(1):
        names = first if number == 1 else OutputNames(*(p.with_stem(f"{p.stem}-{number}") for p in first))
        if options.overwrite or not any(path.exists() for path in names):
            return names
    raise AssertionError


def checkpoint_line(ref: CheckpointRef, weights: str) -> str:
    """The checkpoint that is sampled from: its file, the images seen, and its age."""
    age = time.time() - ref.file.stat().st_mtime
    saved = "" if PRETRAINED_DIR in ref.file.parents else f", saved {duration(max(age, 0))} ago"
    return f"sampling from {ref.file} ({weights} weights, {ref.about.images_seen:,} images seen{saved})"


def save_outputs(samples: Samples, options: Sample, names: OutputNames) -> list[Path]:
    """Write the samples as a grid, and as single images and arrays if the options are set; returns the files."""
    files = [save_png(samples.grid(), names.grid)]
    if options.save_images:
        files += samples.save(names.images)
    if options.npz:
        files.append(samples.to_npz(names.arrays))
    return files
