"""A job that samples: the same seeds by each setting, with every trajectory on one image, the atlas."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.data.images import to_uint8
from limpid.diffusion.level import Level
from limpid.diffusion.samplers.steps import SamplerStep
from limpid.lab.jobs import Report
from limpid.recipes.recipe import Sampling
from limpid.recipes.serialize import from_dict
from limpid.runtime.device import Runtime
from limpid.sampling.checkpoints import find_checkpoint
from limpid.sampling.pipeline import Pipeline, load_checkpoint
from limpid.sampling.same_samples import SampleCall
from limpid.sampling.sample import pixels_from, to_display_pixels
from limpid.sampling.samples import Samples
from limpid.storage.atomic import atomic_write
from limpid.viz.image_grid import atlas, near_square, save_png

MAX_FRAMES = 33
"""States of a trajectory that are stored."""
MAX_ATLAS = 16_000_000
"""Pixels of an atlas: of large images fewer states are stored."""
REPORT_SECONDS, PREVIEW_SECONDS = 0.05, 0.4
"""Seconds between two reports, and between two previews of the samples."""


@dataclass(frozen=True)
class SampleParameters:
    """What is sampled: from a model, seeds and labels, by each of the settings."""

    path: str
    n: int
    seed: int
    labels: tuple[str, ...]
    weights: Literal["ema", "raw"]
    settings: tuple[Sampling, ...]


@dataclass
class Progress:
    """Reports the network evaluations that are done, and a preview now and then."""

    report: Report
    folder: Path
    total: int
    evaluations: int = 0
    shown: float = 0.0
    reported: float = 0.0

    def count(self, *_: object) -> None:
        """One more network evaluation."""
        self.evaluations += 1

    def step(self, setting: int, done: int, x0: Tensor) -> None:
        """Another step is done, whose prediction is x0."""
        now = time.monotonic()
        if now - self.reported < REPORT_SECONDS:
            return
        self.reported = now
        if now - self.shown > PREVIEW_SECONDS:
            self.shown = now
            pixels = to_uint8(x0).cpu()
            columns = near_square(len(pixels))
            padded = torch.cat([pixels, pixels.new_zeros(-len(pixels) % columns, *pixels.shape[1:])])
            image = atlas(padded.view(-1, columns, *pixels.shape[1:]))
            with atomic_write(self.folder / str(setting) / "preview.png") as part:
                image.save(part, format="PNG")
        self.report({"done": done, "total": self.total, "setting": setting, "preview": self.shown})


def run_sample_job(parameters: Any, folder: Path, report: Report) -> Any:
    """Sample by every setting; the files of each are in a folder of its number."""
    query = from_dict(SampleParameters, parameters, "job")
    pipeline = load_once(query.path, query.weights)
    labels = pipeline.label_indices(list(query.labels) or None, query.n)
    steps = [len(pipeline.with_sampling(setting).levels(setting.steps)) - 1 for setting in query.settings]
    progress = Progress(report, folder, sum(steps))
    hook = pipeline.model.net.register_forward_hook(progress.count)
    try:
        results = []
        for i, setting in enumerate(query.settings):
            (folder / str(i)).mkdir()
            results.append(sample_setting(pipeline.with_sampling(setting), query, labels, i, sum(steps[:i]), progress))
    finally:
        hook.remove()
    names = [pipeline.class_names[label] for label in labels] if labels else []
    return {"shape": pipeline.image_shape, "n": query.n, "labels": names, "settings": results}


def sample_setting(
    pipeline: Pipeline, query: SampleParameters, labels: list[int] | None, number: int, before: int, progress: Progress
) -> Any:
    """The samples of one setting: files are written, and described in the result."""
    seeds = range(query.seed, query.seed + query.n)
    sampling, default = pipeline.recipe.sampling, load_once(query.path, query.weights).recipe.sampling
    levels = pipeline.levels(sampling.steps)
    wanted = frame_indices(len(levels), query.n, pipeline.image_shape)
    begin, evaluations = time.perf_counter(), progress.evaluations
    columns, final = [], None
    for i, (x, level, x0) in enumerate(states(pipeline.trajectory(seeds, labels=labels))):
        if i in wanted:
            columns.append(torch.stack([to_display_pixels(SamplerStep(x, x0, level)), to_uint8(x0).cpu()], 1))
        progress.step(number, before + min(i + 1, len(levels) - 1), x0)
        final = x
    seconds = time.perf_counter() - begin
    assert final is not None
    samples = Samples(pixels_from(final), tuple(labels) if labels else None, tuple(seeds), pipeline.class_names)
    write_files(samples, torch.stack(columns, 2), progress.folder / str(number))
    call = SampleCall(query.path, default, sampling, query.n, query.seed, query.labels, query.weights)
    return {
        "frames": [level_numbers(levels[i]) for i in wanted],
        "evaluations": progress.evaluations - evaluations,
        "seconds": seconds,
        "command": call.command(),
        "python": call.python(),
    }


def states(steps: Iterator[SamplerStep]) -> Iterator[tuple[Tensor, Level, Tensor]]:
    """Every x of a trajectory with its level and the x0 that was predicted from it; the last x is its own."""
    after = None
    for before, after in pairwise(steps):
        yield before.x, before.level, after.x0
    assert after is not None
    yield after.x, after.level, after.x


def frame_indices(states: int, n: int, shape: tuple[int, int, int]) -> list[int]:
    """The states of a trajectory that are stored, evenly spaced, the first and the last among them."""
    _, h, w = shape
    frames = max(2, min(states, MAX_FRAMES, MAX_ATLAS // (2 * n * h * w)))
    return sorted({round(i) for i in torch.linspace(0, states - 1, frames).tolist()})


def write_files(samples: Samples, frames: UInt8[Tensor, "n two frames c h w"], folder: Path) -> None:
    """Write the grid, the arrays and the atlas: for each sample a row of x and one of x0, along the trajectory."""
    save_png(samples.grid(), folder / "grid.png")
    samples.to_npz(folder / "samples.npz")
    save_png(atlas(frames.flatten(0, 1)), folder / "atlas.png")


def level_numbers(level: Level) -> dict[str, float]:
    """Alpha and sigma of a level."""
    return {"alpha": level.alpha.item(), "sigma": level.sigma.item()}


def load_once(path: str, weights: Literal["ema", "raw"]) -> Pipeline:
    """The model of a path; it is loaded again where the checkpoint has changed."""
    ref = find_checkpoint(path)
    return _load(str(ref.file), ref.sha256, path, weights)


@lru_cache(maxsize=2)
def _load(file: str, sha256: str, path: str, weights: Literal["ema", "raw"]) -> Pipeline:
    return load_checkpoint(find_checkpoint(file), Runtime().resolve().setup(), weights)
