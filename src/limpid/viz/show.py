"""Figures of the data, the forward process, the schedule and the loss."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.data import DataSource
from limpid.data.images import ImageDataset, LabelledBatch, normalize, shuffled_indices, to_uint8
from limpid.diffusion.level import add_noise
from limpid.diffusion.schedules import Discrete, Schedule
from limpid.diffusion.schedules import sampling_levels as levels_of
from limpid.recipes.recipe import Recipe, TrainingSchedule
from limpid.runtime.rng import generator
from limpid.storage import jsonl
from limpid.viz.class_sheets import sheet_classes, sheet_title
from limpid.viz.image_grid import image_grid, save_png, strip
from limpid.viz.plot import Curve, Panel, panels, with_mean

DATA_COLUMNS = 10
"""Images of each class in the figure of a data set."""
STREAMED_FOR_CLASSES = 1_000
"""Images that are read for that figure if they cannot be selected by class."""


def data(recipe: Recipe, path: Path, source: DataSource | None = None) -> Path:
    """Training images as the network sees them, resized and augmented: a row for each of at most ten classes, with its
    number of images, or the first 64 images without classes."""
    source = source or recipe.data.open("cpu")
    noise = generator("cpu", recipe.seed, "augment", 0)
    if not source.class_names:
        pixels, _ = next(source.batches(0, min(64, len(source)), recipe.seed))  # none twice
        return save_png(image_grid(recipe.augment(pixels, noise)), path)
    shown = sheet_classes(len(source.class_names))
    pixels, labels = images_by_class(source, shown, recipe.seed)
    rows = [torch.nonzero(labels == label).flatten()[:DATA_COLUMNS] for label in shown]
    cells = torch.full((len(rows), DATA_COLUMNS, *source.shape), 255, dtype=torch.uint8)
    for cell, indices in zip(cells, rows, strict=True):
        cell[: len(indices)] = recipe.augment(pixels[indices], noise)
    counts = source.class_counts or (0,) * len(source.class_names)
    names = [f"{source.class_names[label]}\n{counts[label]:,}" for label in shown]
    return save_png(strip(cells, names, (), sheet_title(shown, source.class_names)), path)


def images_by_class(source: DataSource, classes: Sequence[int], seed: int) -> LabelledBatch:
    """The first images of each of these classes in the order of training; of a streamed set, the first of all."""
    if not isinstance(source, ImageDataset):
        return next(source.batches(0, min(len(source), STREAMED_FOR_CLASSES), seed))
    order = shuffled_indices(0, len(source), len(source), seed)
    labels = source.labels[order]
    first = [order[torch.nonzero(labels == label).flatten()[:DATA_COLUMNS]] for label in classes]
    return source.fetch(torch.cat(first))


def forward(recipe: Recipe, path: Path, timesteps: Sequence[int] = (), rows: int = 6) -> Path:
    """Training images, one in each row, with increasing noise of the training schedule, at `timesteps` or evenly
    spaced.

    Raises ValueError for timesteps that the schedule does not have.
    """
    source, kind = recipe.data.open("cpu"), recipe.schedule
    pixels, labels = next(source.batches(0, rows, recipe.seed))
    x0, u = normalize(pixels), u_at_timesteps(kind, timesteps) if timesteps else u_at_even_angles(kind, 9)
    eps = torch.randn(x0.shape, generator=generator("cpu", recipe.seed, "strip"))
    levels = kind(u).to_vp()
    noisy = torch.stack([to_uint8(add_noise(x0, eps, levels[i])) for i in range(len(u))], 1)
    names = [source.class_names[label] for label in labels.tolist()] if source.class_names else ()
    return save_png(strip(noisy, names, column_titles(kind, u)), path)


def u_at_timesteps(kind: Schedule, timesteps: Sequence[int]) -> Float[Tensor, " n"]:
    """u at these steps of a discrete schedule, of which 0 is the image without noise."""
    T = getattr(kind, "T", 0)
    if not all(0 <= t <= T for t in timesteps):
        raise ValueError(f"timesteps {' '.join(map(str, timesteps))}: {kind} has those from 0 to {T}")
    return torch.tensor(timesteps, dtype=torch.float64) / max(T, 1)


def u_at_even_angles(kind: Schedule, n: int) -> Float[Tensor, " n"]:
    """n values of u from clean to noise at equal angles of atan2(sigma, alpha), so that the columns differ evenly.

    The last is just below 1 for a schedule with infinite noise at u = 1.
    """
    dense = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    dense = dense[kind(dense).sigma.isfinite()]
    angle = torch.atan2(kind(dense).sigma, kind(dense).alpha)
    wanted = torch.linspace(angle[0].item(), angle[-1].item(), n, dtype=torch.float64)
    return dense[torch.searchsorted(angle, wanted).clamp(max=len(dense) - 1)]


def column_titles(schedule: Schedule, u: Tensor) -> list[str]:
    """The titles of the levels at `u`: the step of a discrete schedule, else sigma / alpha."""
    if steps := getattr(schedule, "T", None):
        return [f"t = {round(part * steps)}" for part in u.tolist()]
    return [f"σ = {ratio:.2g}" for ratio in schedule(u).edm_sigma.tolist()]


def loss(folder: Path, path: Path) -> Path:
    """The loss of a run against images seen, its points and their running mean, and its online scores if it has them.

    Raises ValueError without a log.
    """
    lines = jsonl.read_jsonl(folder / "log.jsonl")
    if not any("loss" in line for line in lines):
        raise ValueError(f"{folder / 'log.jsonl'} has no lines yet: nothing to plot")
    names = dict.fromkeys(name for line in lines if "loss" not in line for name in line if name != "images_seen")
    losses, *scores = (log_curve(lines, name) for name in ("loss", *names))
    plots = [Panel(with_mean(losses), f"{folder.name}: training loss", "images seen", "loss", log_y=True)]
    return panels([*plots, *(Panel([score], score.label, "images seen", log_y=True) for score in scores)], path)


def log_curve(lines: Sequence[jsonl.Line], name: str) -> Curve:
    """The values of this name in a log, against images seen."""
    chosen = [line for line in lines if name in line]
    return Curve(name, [line["images_seen"] for line in chosen], [line[name] for line in chosen])


def schedule(recipe: Recipe, path: Path) -> Path:
    """Plots of the training schedule, and of the sampling levels if they are of another schedule."""
    return panels(schedule_panels(recipe), path)


def schedule_panels(recipe: Recipe) -> list[Panel]:
    """Plots of alpha_bar, the signal-to-noise ratio and, for a schedule of T steps, beta_t, along u or t = u T.

    The first curve is the training schedule. Where the sampling levels are of another schedule they are a second curve:
    level i of n at u = 1 - i / n, without the last, which is clean. Raises ValueError for levels that are not valid.
    """
    kind, sampling, T = recipe.schedule, recipe.sampling, getattr(recipe.schedule, "T", 0)
    u = torch.arange(1, T + 1, dtype=torch.float64) / T if T else (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    found = {f"training: {type(kind).__name__}": (u, kind(u))}
    if not isinstance(sampling.schedule, TrainingSchedule):
        levels = levels_of(recipe.sampling_schedule, sampling.steps, sampling.spacing)[:-1]
        falling = 1 - torch.arange(len(levels), dtype=torch.float64) / len(levels)
        found[f"sampling: {type(sampling.schedule).__name__}, {sampling.steps} steps"] = (falling, levels)
    x = {name: (u * (T or 1)).tolist() for name, (u, _) in found.items()}
    alpha_bar = [Curve(name, x[name], level.to_vp().alpha.square().tolist()) for name, (_, level) in found.items()]
    snr = [Curve(name, x[name], level.snr.tolist()) for name, (_, level) in found.items()]
    along = "t" if T else "u"
    plots = [Panel(alpha_bar, "alpha_bar", along), Panel(snr, "signal-to-noise ratio", along, log_y=True)]
    if isinstance(kind, Discrete):
        plots.append(Panel([Curve("training", u.mul(T).tolist(), kind.betas().tolist())], "beta of each step", along))
    return plots
