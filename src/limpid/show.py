"""Pictures of the process itself: the noise, the schedule, the data, a trajectory, samples, the loss."""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.data.images import Source, from_pixels, to_pixels
from limpid.diffusion.level import Level, mix
from limpid.diffusion.samplers import Ddim, Step
from limpid.diffusion.schedules import Cosine, LinearBeta, Schedule
from limpid.learning import runlog
from limpid.learning.machine import Machine
from limpid.learning.rng import generator
from limpid.pictures.animate import animate
from limpid.pictures.grid import grid, save
from limpid.pictures.plot import Curve, Panel, curves, panels
from limpid.recipe import Recipe
from limpid.sample import Trained, spread, trajectory

PREVIEW_STEPS = 50


def preview(recipe: Recipe) -> Recipe:
    """The recipe with sampling quick enough to look at: at most 50 steps, and DDIM where it asked for more."""
    if recipe.sampling.steps <= PREVIEW_STEPS:
        return recipe
    return replace(recipe, sampling=replace(recipe.sampling, steps=PREVIEW_STEPS, sampler=Ddim()))


def forward(recipe: Recipe, path: Path, rows: int = 5) -> Path:
    """A strip of real pictures, a row each, that sink into noise from left to right."""
    source = recipe.data.open("cpu")
    pixels, labels = source.batch(0, rows, recipe.seed)
    schedule = recipe.sampling_schedule
    u = torch.tensor([0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0], dtype=torch.float64)
    levels = schedule(u)
    circle = levels.unit()
    x0 = from_pixels(pixels)
    eps = torch.randn(x0.shape, generator=generator("cpu", recipe.seed, "strip"))
    columns = [to_pixels(mix(x0, eps, circle[i])) for i in range(len(u))]
    names = [source.names[i] for i in labels.tolist()] if source.names else []
    picture = grid(torch.stack(columns, 1).flatten(0, 1), columns=len(u), rows=names, heads=heads(schedule, u, levels))
    return save(picture, path)
