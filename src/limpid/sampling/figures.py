"""Figures of a trained model: sample grids, the trajectory from noise, animations of denoising."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.data.images import to_uint8
from limpid.diffusion.level import Level
from limpid.diffusion.samplers.steps import SamplerStep
from limpid.diffusion.schedules import Schedule
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import to_display_pixels
from limpid.viz import show
from limpid.viz.animation import animate
from limpid.viz.class_sheets import sheet_classes, sheet_title
from limpid.viz.image_grid import image_grid, save_png, strip

FRAMES = 24
"""Frames of an animation."""


def preview_samples(pipeline: Pipeline) -> UInt8[Tensor, "n c h w"]:
    """Samples from seeds 0, 1, 2, ...: eight of each class, of ten if there are more, or 64."""
    labels = [label for label in sheet_classes(len(pipeline.class_names)) for _ in range(8)] or None
    return torch.cat(list(pipeline.for_preview().sample_batches(range(len(labels or range(64))), labels)))


def save_sample_grid(pixels: UInt8[Tensor, "n c h w"], class_names: Sequence[str], path: Path) -> Path:
    """A grid of `preview_samples`: a row for each class, or a square where there are none."""
    shown = sheet_classes(len(class_names))
    rows = [class_names[i] for i in shown]
    return save_png(image_grid(pixels, columns=8, row_labels=rows, title=sheet_title(shown, class_names)), path)


def denoising_animation(pipeline: Pipeline, path: Path, seeds: Sequence[int], labels: list[int] | None) -> Path:
    """An animation of the images of `seeds` coming out of the noise."""
    title = sheet_title(labels or [], pipeline.class_names)
    steps = list(preview_trajectory(pipeline, seeds, labels))
    frames = [steps[round(i)] for i in torch.linspace(0, len(steps) - 1, min(FRAMES, len(steps))).tolist()]
    return animate((image_grid(to_display_pixels(step), title=title) for step in frames), path)


def trajectory_strip(pipeline: Pipeline, path: Path, seeds: Sequence[int], labels: list[int] | None) -> Path:
    """Two rows for each of `seeds`, along the steps of the sampler: x, and the network's estimate of x0."""
    steps = list(preview_trajectory(pipeline, seeds, labels))[1:]
    chosen = [steps[round(i)] for i in torch.linspace(0, len(steps) - 1, min(9, len(steps))).tolist()]
    columns = [torch.stack([to_display_pixels(step), to_uint8(step.x0).cpu()], 1).flatten(0, 1) for step in chosen]
    rows = [word for seed in seeds for word in (f"seed {seed}", "it sees")]
    heads = [level_title(pipeline.recipe.sampling_schedule, step.level) for step in chosen]
    return save_png(strip(torch.stack(columns, 1), rows, heads), path)


def level_title(schedule: Schedule, level: Level) -> str:
    """The timestep t of a level of a discrete schedule, the nearest in log-SNR; sigma / alpha of any other."""
    if not (T := getattr(schedule, "T", 0)):
        return f"σ = {level.edm_sigma.item():.2g}"
    table = schedule(torch.arange(T + 1, dtype=torch.float64) / T).logsnr
    return f"t = {(table - level.logsnr.double().item()).abs().nan_to_num(0.0).argmin().item()}"


def preview_trajectory(pipeline: Pipeline, seeds: Sequence[int], labels: list[int] | None) -> Iterator[SamplerStep]:
    """The steps from noise to the images of `seeds`, by at most 50 steps."""
    return pipeline.for_preview().trajectory(seeds, labels=labels)


def final_figures(pipeline: Pipeline, folder: Path) -> list[Path]:
    """Everything that shows what a finished run has learnt, and how."""
    labels = sheet_classes(len(pipeline.class_names)) or None
    return [
        save_sample_grid(preview_samples(pipeline), pipeline.class_names, folder / "samples.png"),
        denoising_animation(pipeline, folder / "denoising.webp", range(len(labels or range(16))), labels),
        show.forward(pipeline.recipe, folder / "forward.png"),
        show.loss(folder, folder / "loss.png"),
    ]
