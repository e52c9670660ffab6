"""Changing real pictures with a trained network: fill a part anew, vary, invert, go from one to another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from limpid.cli.inputs import load_images, parse_labels, parse_mask
from limpid.data.images import normalize
from limpid.diffusion import editing
from limpid.diffusion.denoiser import Denoise, DenoiserWithVariance
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers import Heun, Sampler
from limpid.diffusion.samplers.steps import SamplerStep, final_step
from limpid.diffusion.schedules import extended_to_sigma, sampling_levels
from limpid.recipes.recipe import DataPlace
from limpid.recipes.serialize import match_choice
from limpid.runtime.device import Runtime
from limpid.sampling.load import Pipeline, load_guide
from limpid.sampling.sample import check_starts_solvable, make_denoiser, pixels_from, seeded_noise
from limpid.viz.image_grid import save_png, strip

Pixels = UInt8[Tensor, "n c h w"]
ODE = Heun()
"""What inversion walks up with, and down again."""
INVERSION_SIGMA_MIN = 0.002
"""Sigma from which inversion walks up, that of Karras et al. (2022): it takes the picture for one of this level."""
ERROR_SCALE = 32
"""An error of one grey level is then just seen."""


@dataclass(frozen=True)
class Edit:
    """Change real pictures with the newest checkpoint of a run, or with one checkpoint."""

    out: Path
    """The file to write."""
    pictures: tuple[str, ...] = ("0", "1", "2", "3")
    """What to begin from: numbers in the data set of the run, or files, which are cut and resized to fit."""
    data: DataPlace = DataPlace()
    labels: tuple[str, ...] = ()
    """The class to tell the network, by name, or by index (from 0) where no class is named so: one for each picture, or
    one for all; none if not given."""
    mask: str = "right"
    """inpaint: the part to draw anew: left, right, top, bottom, centre, or a PNG that is white there."""
    resample: int = 5
    """inpaint: how often each step is taken, for the new part to agree with the old."""
    strengths: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """img2img: how much noise hides each picture before it is drawn again, from 0 (none) to 1 (nothing else)."""
    num_variations: int = 6
    """inpaint: how many fillings; interpolate: how many pictures from one to the other."""
    steps: int = 50
    """Steps of a whole way from noise to picture."""
    sampler: Sampler = Heun()
    """img2img: the sampler."""
    seed: int = 0
    """Seed of the first filling or variation; each has its own, the next the next."""


def edit_sheet(what: str, pipeline: Pipeline, options: Edit, runtime: Runtime) -> Path:
    """The sheet of one of `EDITS`, written. Raises ValueError for what cannot be done."""
    act = EDITS[match_choice("edit", what, EDITS)]
    for name, value in (
        ("resample", options.resample),
        ("num-variations", options.num_variations),
        ("steps", options.steps),
    ):
        if value < 1:
            raise ValueError(f"--{name} {value}: expected at least 1")
    return save_png(act(pipeline, options, runtime), options.out)


def inpaint_sheet(pipeline: Pipeline, options: Edit, runtime: Runtime) -> Image.Image:
    """A row for each picture: itself, what is kept of it, and several fillings of the rest."""
    hole, labels = parse_mask(options.mask, pipeline.image_shape), edit_labels(options, pipeline)
    pixels, names = load_images(options.pictures, pipeline.recipe.data, pipeline.image_shape)
    n, levels = options.num_variations, edit_levels(pipeline, options)
    noise = seeded_noise([options.seed + i for i in range(n)] * len(pixels), pipeline.image_shape, runtime.device)
    known = normalize(pixels).repeat_interleave(n, 0).to(runtime.device)
    denoise, x = labelled_denoiser(pipeline, labels, runtime), levels[0].sigma * noise()
    walk = editing.inpaint(denoise, x, levels, noise, known, hole.to(runtime.device), options.resample)
    drawn = visible(final_step(walk).x).unflatten(0, (len(pixels), n))
    kept = torch.where(hole, checkerboard_like(pixels), pixels)
    heads = ["picture", "kept", *(f"seed {options.seed + i}" for i in range(n))]
    title = "Inpainting: the checked part is drawn anew, from a seed each"
    return strip(torch.cat([pixels[:, None], kept[:, None], drawn], 1), names, heads, title)


def img2img_sheet(pipeline: Pipeline, options: Edit, runtime: Runtime) -> Image.Image:
    """Two rows for each picture, a column for each strength: the noisy picture, and what is drawn from it."""
    if wrong := [strength for strength in options.strengths if not 0 <= strength <= 1]:
        raise ValueError(f"--strengths {wrong[0]}: expected numbers from 0 (the picture) to 1 (noise)")
    labels = edit_labels(options, pipeline)
    pixels, names = load_images(options.pictures, pipeline.recipe.data, pipeline.image_shape)
    x0, denoise = normalize(pixels).to(runtime.device), labelled_denoiser(pipeline, labels, runtime)
    columns = [torch.stack([pixels, pixels], 1)]
    for strength in options.strengths:
        levels = editing.from_strength(edit_levels(pipeline, options), strength)
        noise = seeded_noise(range(options.seed, options.seed + len(pixels)), pipeline.image_shape, runtime.device)
        walk = editing.sdedit(options.sampler, denoise, x0, levels, noise)
        noisy = next(walk)
        columns.append(torch.stack([visible(to_vp(noisy)), visible(final_step(chain([noisy], walk)).x)], 1))
    rows = [word for name in names for word in (f"{name}, noisy", "drawn from it")]
    heads = ["picture", *(f"strength {strength:g}" for strength in options.strengths)]
    title = "Image to image: the more noise hides a picture, the more freely it is drawn again"
    return strip(torch.stack(columns, 2).flatten(0, 1), rows, heads, title)


def inversion_sheet(pipeline: Pipeline, options: Edit, runtime: Runtime) -> Image.Image:
    """A row for each picture: itself, the noise it is made of, what comes of that noise, and how far that is off."""
    labels = edit_labels(options, pipeline)
    pixels, names = load_images(options.pictures, pipeline.recipe.data, pipeline.image_shape)
    levels, denoise = (
        edit_levels(pipeline, options, INVERSION_SIGMA_MIN),
        labelled_denoiser(without_guidance(pipeline), labels, runtime),
    )
    top = final_step(editing.invert(ODE, denoise, normalize(pixels).to(runtime.device), levels))
    again = visible(final_step(ODE(denoise, top.x, levels, editing.no_noise)).x)
    error = (again.int() - pixels.int()).abs()
    seen = (error * ERROR_SCALE).clamp(max=255).to(torch.uint8)
    columns = torch.stack([pixels, visible(to_vp(top) / 2), again, seen], 1)
    heads = ["picture", "its noise", "drawn from it", f"error x {ERROR_SCALE}"]
    off = error.double().square().mean().sqrt().item()
    title = (
        f"Inversion: to the noise a picture is made of and back\n(error {off:.2g} of 255 grey levels, root mean square)"
    )
    return strip(columns, names, heads, title)


def interpolation_sheet(pipeline: Pipeline, options: Edit, runtime: Runtime) -> Image.Image:
    """A row for each two pictures: the one, pictures drawn from the noises between theirs, the other."""
    labels, count = edit_labels(options, pipeline), len(options.pictures)
    if count % 2:
        raise ValueError(f"--pictures names {count}: interpolation takes them by twos")
    if labels and labels[::2] != labels[1::2]:
        raise ValueError("--labels: interpolation tells the network one class for both pictures")
    pixels, names = load_images(options.pictures, pipeline.recipe.data, pipeline.image_shape)
    x0, levels = normalize(pixels).to(runtime.device), edit_levels(pipeline, options, INVERSION_SIGMA_MIN)
    t, rows = torch.linspace(0, 1, options.num_variations), []
    for i in range(0, count, 2):
        denoise = labelled_denoiser(without_guidance(pipeline), labels and labels[i : i + 1], runtime)
        drawn = visible(final_step(editing.interpolate(ODE, denoise, x0[i : i + 2], t, levels)).x)
        rows.append(torch.cat([pixels[i : i + 1], drawn, pixels[i + 1 : i + 2]]))
    heads = ["picture", *(f"{100 * share:.0f} %" for share in t.tolist()), "picture"]
    ways = [f"{one} to {other}" for one, other in zip(names[::2], names[1::2], strict=True)]
    return strip(torch.stack(rows), ways, heads, "Interpolation: drawn from the noises between those of two pictures")


EDITS = {
    "inpaint": inpaint_sheet,
    "img2img": img2img_sheet,
    "interpolate": interpolation_sheet,
    "invert": inversion_sheet,
}


def edit_levels(pipeline: Pipeline, options: Edit, lowest: float = math.inf) -> Level:
    """The levels that a whole drawing visits, or those of one that goes down to sigma `lowest` at least."""
    schedule = extended_to_sigma(pipeline.recipe.sampling_schedule, lowest)
    levels = sampling_levels(schedule, options.steps, pipeline.recipe.sampling.spacing)
    check_starts_solvable(pipeline.model, levels)
    return levels


def labelled_denoiser(pipeline: Pipeline, labels: Sequence[int] | None, runtime: Runtime) -> Denoise:
    """The network as the recipe samples with it, told the label of each picture for all in a batch made from it.

    Nothing guides a network that is told nothing, unless the recipe names a weaker one for that.
    """
    recipe = pipeline.recipe
    if labels is None and not recipe.sampling.guidance_model:
        recipe = without_guidance(pipeline, clip=recipe.sampling.clip_denoised).recipe

    guide = load_guide(recipe.sampling, runtime)
    if labels is None:
        return make_denoiser(pipeline.model, recipe, None, runtime, guide)

    def look(x: Batch, level: Level) -> tuple[Batch, Batch | None]:
        each = torch.tensor(labels, device=x.device).repeat_interleave(len(x) // len(labels))
        return make_denoiser(pipeline.model, recipe, each, runtime, guide).denoise_with_variance(x, level)

    return DenoiserWithVariance(look)


def edit_labels(options: Edit, pipeline: Pipeline) -> list[int] | None:
    """A label for each picture; None where the network is told nothing. Raises ValueError for what is no class."""
    if options.labels:
        return parse_labels(options.labels, pipeline.class_names, len(options.pictures))
    if pipeline.class_names and not pipeline.recipe.label_dropout:
        raise ValueError(
            f"this network was always told a class: name one with --labels ({', '.join(pipeline.class_names)})"
        )
    return None


def without_guidance(pipeline: Pipeline, clip: bool = False) -> Pipeline:
    """The network alone: guidance and clipping make an ODE that is hard to walk back."""
    sampling = replace(pipeline.recipe.sampling, guidance=Guidance(), guidance_model="", clip_denoised=clip)
    return pipeline._replace(recipe=replace(pipeline.recipe, sampling=sampling))


def checkerboard_like(pixels: Pixels) -> Pixels:
    """The grey squares that stand for nothing."""
    *_, h, w = pixels.shape
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    side = max(1, min(h, w) // 16)
    return (128 + 64 * ((y // side + x // side) % 2)).to(torch.uint8).expand_as(pixels)


def to_vp(step: SamplerStep) -> Batch:
    """The noisy pictures of a step on the circle, where they keep their range on every path."""
    return step.x / torch.hypot(step.level.alpha, step.level.sigma)


def visible(x: Batch) -> Pixels:
    """Pictures as pixels in the host's memory."""
    return pixels_from(x)
