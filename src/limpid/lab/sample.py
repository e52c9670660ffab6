"""The view Sample: the models with their settings; a query becomes a job, a finished job an animation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from limpid.lab.jobs import Job
from limpid.lab.models import find_model, find_models
from limpid.lab.noise import NoQuery
from limpid.lab.workspace import Workspace
from limpid.recipes.recipe import Sampling
from limpid.recipes.schema import schema
from limpid.recipes.serialize import match_choice, to_dict
from limpid.sampling.checkpoints import CheckpointInfo, find_checkpoint
from limpid.viz.animation import animate
from limpid.viz.image_grid import image_grid

MAX_SAMPLES, MAX_JOB_STEPS, MAX_SETTINGS = 100, 1000, 3
"""What one job may generate: samples, steps of its sampler, settings beside each other."""


@dataclass(frozen=True)
class ModelQuery:
    """A model, at one of its checkpoints."""

    model: str
    checkpoint: str = ""
    """The newest if empty."""


@dataclass(frozen=True)
class SampleQuery:
    """Samples of a model from some seeds, by one or several settings."""

    model: ModelQuery
    settings: tuple[Sampling, ...]
    n: int = 64
    seed: int = 0
    labels: tuple[str, ...] = ()
    weights: Literal["ema", "raw"] = "ema"


def sample_form(workspace: Workspace, query: NoQuery) -> Any:
    """The models with their checkpoints, and what a setting of the sampling is made of."""
    models = [{"name": model.name, "checkpoints": model.checkpoints} for model in find_models(workspace).values()]
    return {"models": models, "schema": schema(Sampling), "limits": {"samples": MAX_SAMPLES, "settings": MAX_SETTINGS}}


def describe_model(workspace: Workspace, query: ModelQuery) -> Any:
    """What a model was trained on and is sampled by."""
    about = find_checkpoint(find_model(workspace, query.model).checkpoint(query.checkpoint)).about
    return {
        "images_seen": about.images_seen,
        "shape": about.image_shape,
        "classes": about.class_names if about.recipe.class_conditional else (),
        "unconditional": bool(about.recipe.label_dropout),
        "sampling": to_dict(about.recipe.sampling),
    }


def job(workspace: Workspace, query: SampleQuery) -> Any:
    """The parameters of the job that samples. Raises ValueError for what the model or the lab cannot do."""
    path = find_model(workspace, query.model.model).checkpoint(query.model.checkpoint)
    about = find_checkpoint(path).about
    for name, value, most in (("samples", query.n, MAX_SAMPLES), ("settings", len(query.settings), MAX_SETTINGS)):
        if not 1 <= value <= most:
            raise ValueError(f"{name} {value}: expected 1 to {most}")
    settings = [checked_setting(workspace, about, sampling) for sampling in query.settings]
    return {
        "path": path,
        "n": query.n,
        "seed": query.seed,
        "labels": query.labels,
        "weights": query.weights,
        "settings": [to_dict(sampling) for sampling in settings],
    }


def checked_setting(workspace: Workspace, about: CheckpointInfo, sampling: Sampling) -> Sampling:
    """A setting whose guidance model is one of the lab's. Raises ValueError if it is another file."""
    if not 1 <= sampling.steps <= MAX_JOB_STEPS:
        raise ValueError(f"steps {sampling.steps}: expected 1 to {MAX_JOB_STEPS:,}")
    if sampling.guidance_model not in ("", about.recipe.sampling.guidance_model):
        match_choice("guidance model", sampling.guidance_model, find_models(workspace))
    return sampling


def animate_job(job: Job, file: Path) -> None:
    """Write the animation of the denoising, from the atlas. Raises ValueError if the job has none."""
    if not job.result:
        raise ValueError(f"job {job.id} has no animation: it is {job.state}")
    about = job.result["settings"][int(file.parent.name)]
    c, h, w = job.result["shape"]
    with Image.open(file.with_name("atlas.png")) as image:
        pixels = torch.from_numpy(np.array(image)).view(-1, 2, h, len(about["frames"]), w, c)[:, 0]
    frames = pixels.permute(2, 0, 4, 1, 3)  # frames, samples, channels, height, width
    animate((image_grid(frame) for frame in frames), file)
