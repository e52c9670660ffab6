"""Figures of a trained model: sample grids, the trajectory from noise, animations of denoising."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from limpid.data.images import to_uint8
from limpid.diffusion.level import Level
from limpid.diffusion.samplers.steps import SamplerStep
from limpid.diffusion.schedules import Schedule
from limpid.runtime.log import logger
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import to_display_pixels
from limpid.sampling.samples import Samples
from limpid.sampling.time_budget import seconds_per_image
from limpid.viz import show
from limpid.viz.animation import animate
from limpid.viz.class_sheets import sheet_classes, sheet_title
from limpid.viz.image_grid import image_grid, save_png, strip

FRAMES = 24
"""Frames of an animation."""
PER_CLASS, WITHOUT_CLASSES = 8, 64
"""Samples of each class on a grid, and of a model without classes."""
GRID_SECONDS = 30.0
"""Time limit of a grid during training: with one in ten minutes this is 5% of a run."""
FINAL_SECONDS = 60.0
"""Time limit of the figures of a finished run."""


def preview_samples(pipeline: Pipeline, budget: float = GRID_SECONDS) -> Samples:
    """Samples from seeds 0, 1, 2, ...: eight of each class, of ten if there are more, or 64.

    There are fewer if these would take more than `budget` seconds; each has the same seed and label as in the complete
    grid.
    """
    preview, labels = pipeline.for_preview().with_guide(), grid_labels(pipeline)
    n = len(labels or range(WITHOUT_CLASSES))
    return samples_of_grid(preview, int(budget / seconds_per_image(preview, labels, n, budget)))


def grid_labels(pipeline: Pipeline) -> list[int] | None:
    """The label of each image of a complete grid; None without classes."""
    return [label for label in sheet_classes(len(pipeline.class_names)) for _ in range(PER_CLASS)] or None


def samples_of_grid(preview: Pipeline, max_images: int) -> Samples:
    """At most `max_images` images of a grid, at least one: first fewer of each class, then fewer classes."""
    labels = grid_labels(preview)
    seeds = grid_seeds(len(labels or []) // PER_CLASS, max(1, max_images))
    chosen = labels and [labels[seed] for seed in seeds]
    pixels = torch.cat(list(preview.sample_batches(seeds, chosen)))
    return Samples(pixels, tuple(chosen) if chosen else None, tuple(seeds), preview.class_names)


def grid_seeds(classes: int, max_images: int) -> list[int]:
    """The seeds of a grid of at most `max_images` images, with this many classes."""
    if not classes:
        return list(range(min(WITHOUT_CLASSES, max_images)))
    columns = min(PER_CLASS, max(1, max_images // classes))
    return [row * PER_CLASS + column for row in range(min(classes, max_images)) for column in range(columns)]


def omissions(samples: Samples) -> str:
    """How many samples of a complete grid are missing, in words; empty if none."""
    n = complete_grid(samples)
    return f"{n - len(samples)} of {n} samples" if len(samples) < n else ""


def complete_grid(samples: Samples) -> int:
    """The number of images of a complete grid of this model."""
    return PER_CLASS * len(sheet_classes(len(samples.class_names))) or WITHOUT_CLASSES


def save_sample_grid(samples: Samples, path: Path) -> Path:
    """Save `preview_samples` as a grid: a row for each class, or a square without classes."""
    shown = list(dict.fromkeys(samples.labels or ()))
    rows = [samples.class_names[label] for label in shown]
    columns = len(samples) // len(shown) if shown else min(PER_CLASS, len(samples))
    title = sheet_title(samples.labels or range(len(samples)), samples.class_names, complete_grid(samples))
    return save_png(image_grid(samples.pixels, columns=columns, row_labels=rows, title=title), path)


def denoising_animation(pipeline: Pipeline, path: Path, seeds: Sequence[int], labels: list[int] | None) -> Path:
    """Save an animation of the trajectory from noise to the samples of `seeds`."""
    title = sheet_title(labels or [], pipeline.class_names)
    steps = list(preview_trajectory(pipeline, seeds, labels))
    frames = [steps[round(i)] for i in torch.linspace(0, len(steps) - 1, min(FRAMES, len(steps))).tolist()]
    return animate((image_grid(to_display_pixels(step), title=title) for step in frames), path)


def trajectory_strip(pipeline: Pipeline, path: Path, seeds: Sequence[int], labels: list[int] | None) -> Path:
    """Two rows for each of `seeds`, along the steps of the sampler: x, and the network's estimate of x0."""
    steps = list(preview_trajectory(pipeline, seeds, labels))[1:]
    chosen = [steps[round(i)] for i in torch.linspace(0, len(steps) - 1, min(9, len(steps))).tolist()]
    columns = [torch.stack([to_display_pixels(step), to_uint8(step.x0).cpu()], 1).flatten(0, 1) for step in chosen]
    rows = [word for seed in seeds for word in (f"seed {seed}", "predicted x0")]
    column_labels = [level_title(pipeline.recipe.sampling_schedule, step.level) for step in chosen]
    return save_png(strip(torch.stack(columns, 1), rows, column_labels), path)


def level_title(schedule: Schedule, level: Level) -> str:
    """The timestep t of a level of a discrete schedule, the nearest in log-SNR; sigma / alpha of any other."""
    if not (T := getattr(schedule, "T", 0)):
        return f"σ = {level.edm_sigma.item():.2g}"
    table = schedule(torch.arange(T + 1, dtype=torch.float64) / T).logsnr
    return f"t = {(table - level.logsnr.double().item()).abs().nan_to_num(0.0).argmin().item()}"


def preview_trajectory(pipeline: Pipeline, seeds: Sequence[int], labels: list[int] | None) -> Iterator[SamplerStep]:
    """The trajectory from noise to the samples of `seeds`, in at most 50 steps."""
    return pipeline.for_preview().trajectory(seeds, labels=labels)


def final_figures(pipeline: Pipeline, folder: Path) -> Iterator[Path]:
    """Write the figures of a finished run and yield their paths; fewer samples, and no animation, if sampling is
    slow."""
    preview, labels = pipeline.for_preview().with_guide(), grid_labels(pipeline)
    animated = sheet_classes(len(pipeline.class_names)) or None
    grid, animation = len(labels or range(WITHOUT_CLASSES)), len(animated or range(16))
    seconds = seconds_per_image(preview, labels, grid + animation, FINAL_SECONDS)
    fitting = int(FINAL_SECONDS / seconds)
    logger.info(f"sampling for the final figures: {time_in_words(min(fitting, grid + animation) * seconds)}")
    samples = samples_of_grid(preview, fitting)
    yield save_sample_grid(samples, folder / "samples.png")
    if complete := fitting >= grid + animation:
        yield denoising_animation(preview, folder / "denoising.webp", range(animation), animated)
    yield show.forward(pipeline.recipe, folder / "forward.png")
    yield show.loss(folder, folder / "loss.png")
    if not complete:
        missing = " and ".join(filter(None, [omissions(samples), "the animation"]))
        command = f"limpid sample {folder} --num-samples {grid} --animation"
        logger.info(f"omitted, to take no more than {FINAL_SECONDS:.0f} s: {missing}; to generate them: {command}")


def time_in_words(seconds: float) -> str:
    """An expected time, in words."""
    return f"about {seconds:.0f} s" if seconds >= 2 else "a moment"
