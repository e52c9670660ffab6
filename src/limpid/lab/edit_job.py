"""A job that edits an image or interpolates between two seeds: the calls are those of `limpid edit`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.diffusion.samplers.steps import final_step
from limpid.lab.edit import decode_base64
from limpid.lab.jobs import Report
from limpid.lab.sample_job import REPORT_SECONDS, load_once
from limpid.recipes.serialize import from_dict
from limpid.sampling.edit_sheets import checkerboard_like
from limpid.sampling.labels import UNCONDITIONAL
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.same_edits import EditCall, EditSettings
from limpid.sampling.sample import pixels_from, to_display_pixels
from limpid.sampling.samples import Samples
from limpid.storage.atomic import atomic_write
from limpid.viz.image_grid import atlas, image_grid, save_png, to_pil_images


@dataclass(frozen=True)
class EditInputs:
    """The image and the mask of an edit, as base64; empty between two seeds."""

    pixels: str = ""
    mask: str = ""


@dataclass(frozen=True)
class EditParameters:
    """An edit and what is edited."""

    call: EditCall
    inputs: EditInputs


def run_edit_job(parameters: Any, folder: Path, report: Report) -> Any:
    """Edit; the files are in the folder `0`, and on their atlas each row is one of the result's `rows`."""
    query = from_dict(EditParameters, parameters, "job")
    call, settings, out = query.call, query.call.settings, folder / "0"
    pipeline = load_once(call.path, "ema")
    out.mkdir()
    begin = time.perf_counter()
    with counted_evaluations(pipeline, settings.evaluations, report) as evaluations:
        rows = edited_rows(pipeline, settings, query.inputs, out)
    seconds = time.perf_counter() - begin
    pixels = list(rows.values())[-1]
    write_arrays(pipeline, settings, pixels, out / "samples.npz")
    save_png(image_grid(pixels), out / "grid.png")
    save_png(atlas(torch.stack(list(rows.values()))), out / "atlas.png")
    return {
        "shape": pipeline.image_shape,
        "rows": list(rows),
        "evaluations": evaluations(),
        "seconds": seconds,
        "command": call.command(),
        "python": call.python(),
    }


def write_arrays(pipeline: Pipeline, settings: EditSettings, pixels: UInt8[Tensor, "n c h w"], file: Path) -> None:
    """Write the result and its seeds as arrays: all seeds, or the two between which is interpolated."""
    if settings.edit == "interpolate":
        seeds = np.array((settings.seed, settings.second_seed))
        with atomic_write(file) as part, part.open("wb") as opened:
            np.savez(opened, images=pixels.permute(0, 2, 3, 1).numpy(), seeds=seeds)
        return
    labels = pipeline.label_indices(settings.label or UNCONDITIONAL, settings.n)
    seeds = tuple(range(settings.seed, settings.seed + settings.n))
    Samples(pixels, tuple(labels) if labels else None, seeds, pipeline.class_names).to_npz(file)


def edited_rows(
    pipeline: Pipeline, settings: EditSettings, inputs: EditInputs, out: Path
) -> dict[str, UInt8[Tensor, "n c h w"]]:
    """Rows of n images by what they are, the result last. The image and the mask are saved for the command."""
    label = settings.label or UNCONDITIONAL
    if settings.edit == "interpolate":
        ends = (settings.seed, settings.second_seed, settings.n)
        pixels = pipeline.interpolate_seeds(*ends, labels=label, steps=settings.steps, sampler=settings.sampler)
        return {"result": pixels}
    c, h, w = pipeline.image_shape
    image = tensor_of("pixels", inputs.pixels).view(1, c, h, w)
    save_png(to_pil_images(image)[0], out / "image.png")
    images = image.expand(settings.n, -1, -1, -1)
    if settings.edit == "img2img":
        labels = pipeline.label_indices(label, settings.n)
        steps = pipeline.img2img_steps(
            images, settings.strength, labels, settings.seed, settings.steps, settings.sampler
        )
        noisy = next(steps)
        result = pixels_from(final_step(chain([noisy], steps)).x)
        return {"image": images, "noisy": to_display_pixels(noisy), "result": result}
    mask = tensor_of("mask", inputs.mask).view(h, w) > 0
    save_png(to_pil_images(255 * mask[None, None].to(torch.uint8))[0], out / "mask.png")
    counts = {"num_variations": settings.n, "steps": settings.steps, "resample": settings.resample}
    result = pipeline.inpaint(image, mask, labels=label, seed=settings.seed, **counts).pixels
    return {"image": images, "known": torch.where(mask, checkerboard_like(images), images), "result": result}


def tensor_of(name: str, text: str) -> UInt8[Tensor, " n"]:
    """The bytes of base64."""
    return torch.frombuffer(bytearray(decode_base64(name, text)), dtype=torch.uint8)


@contextmanager
def counted_evaluations(pipeline: Pipeline, total: int, report: Report) -> Iterator[Callable[[], int]]:
    """A function that returns the network evaluations so far; about `total` are expected, and reported."""
    evaluations, reported = 0, 0.0

    def count(*_: object) -> None:
        nonlocal evaluations, reported
        evaluations += 1
        if (now := time.monotonic()) - reported > REPORT_SECONDS:
            reported = now
            report({"done": min(evaluations, total), "total": max(total, 1)})

    hook = pipeline.model.net.register_forward_hook(count)
    try:
        yield lambda: evaluations
    finally:
        hook.remove()
