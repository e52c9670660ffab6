"""Editing of real images by a trained model. Each function of this file is a method of `Pipeline`.

The methods themselves, as functions of a denoiser and its levels, are in `diffusion/editing.py`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from limpid.data.convert import ImagesLike
from limpid.data.images import normalize
from limpid.diffusion import editing
from limpid.diffusion.denoiser import DenoiserWithVariance
from limpid.diffusion.level import Level
from limpid.diffusion.samplers import Heun, Sampler
from limpid.diffusion.samplers.steps import SamplerStep, final_step
from limpid.runtime.device import Runtime
from limpid.sampling.labels import UNCONDITIONAL, SampleLabels
from limpid.sampling.sample import ImageShape, pixels_from, seeded_noise
from limpid.sampling.samples import Samples

ODE = Heun()
"""The solver of inversion and interpolation."""
INVERSION_SIGMA_MIN = 0.002
"""The sigma at which inversion begins, that of Karras et al. (2022): the image is treated as one with this noise."""


@runtime_checkable
class EditingModel(Protocol):
    """The part of `Pipeline` that the functions of this file use."""

    @property
    def image_shape(self) -> ImageShape: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def runtime(self) -> Runtime: ...
    def pixels_from_images(self, images: ImagesLike) -> UInt8[Tensor, "n c h w"]: ...
    def label_indices(self, labels: SampleLabels, n: int) -> list[int] | None: ...
    def levels(self, steps: int, lowest: float = math.inf) -> Level: ...
    def edit_denoiser(self, labels: Sequence[int] | None) -> DenoiserWithVariance: ...
    def without_guidance(self) -> "EditingModel": ...


def inpaint_images(
    pipeline: EditingModel,
    images: ImagesLike,
    mask: Bool[Tensor, "h w"],
    *,
    labels: SampleLabels = UNCONDITIONAL,
    seed: int = 0,
    num_variations: int = 1,
    steps: int = 50,
    resample: int = 5,
) -> Samples:
    """`num_variations` of each image with new content where `mask` is True (RePaint: Lugmayr et al. 2022).

    Each step is taken `resample` times, so that the new part agrees with the known one. Raises ValueError for
    images of another shape than the model's.
    """
    pixels, n = pipeline.pixels_from_images(images), num_variations
    indices, levels = pipeline.label_indices(labels, len(pixels)), pipeline.levels(steps)
    seeds, device = [seed + i for i in range(n)] * len(pixels), pipeline.runtime.device
    noise = seeded_noise(seeds, pipeline.image_shape, device)
    known = normalize(pixels).repeat_interleave(n, 0).to(device)
    denoise, x = pipeline.edit_denoiser(indices), levels[0].sigma * noise()
    final = final_step(editing.inpaint(denoise, x, levels, noise, known, mask.to(device), resample))
    repeated = None if indices is None else tuple(label for label in indices for _ in range(n))
    return Samples(pixels_from(final.x), repeated, tuple(seeds), pipeline.class_names)


def sdedit_images(
    pipeline: EditingModel,
    images: ImagesLike,
    strength: float = 0.5,
    *,
    labels: SampleLabels = UNCONDITIONAL,
    seed: int = 0,
    steps: int = 50,
    sampler: Sampler = ODE,
) -> Samples:
    """Each image with noise added and removed again (SDEdit: Meng et al. 2022); `strength` 0 changes nothing.

    Image i has the noise of seed `seed` + i. Raises as `inpaint`.
    """
    pixels = pipeline.pixels_from_images(images)
    indices = pipeline.label_indices(labels, len(pixels))
    final = final_step(sdedit_steps(pipeline, pixels, strength, indices, seed, steps, sampler))
    seeds = tuple(range(seed, seed + len(pixels)))
    return Samples(pixels_from(final.x), None if indices is None else tuple(indices), seeds, pipeline.class_names)


def sdedit_steps(
    pipeline: EditingModel,
    pixels: UInt8[Tensor, "n c h w"],
    strength: float,
    labels: Sequence[int] | None,
    seed: int,
    steps: int,
    sampler: Sampler,
) -> Iterator[SamplerStep]:
    """The steps of `img2img`, the noisy images first. Raises ValueError for a strength outside 0..1."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength}: expected a number from 0 (the image) to 1 (noise)")
    levels = editing.from_strength(pipeline.levels(steps), strength)
    noise = seeded_noise(range(seed, seed + len(pixels)), pipeline.image_shape, pipeline.runtime.device)
    x0 = normalize(pixels).to(pipeline.runtime.device)
    return editing.sdedit(sampler, pipeline.edit_denoiser(labels), x0, levels, noise)


def invert_images(
    pipeline: EditingModel, images: ImagesLike, *, labels: SampleLabels = UNCONDITIONAL, steps: int = 50
) -> SamplerStep:
    """The noise that the probability-flow ODE turns into the images (Song et al. 2021), as x of a step at its level.

    Without guidance or clipping. `decode` generates the images again. Raises as `inpaint`.
    """
    pixels = pipeline.pixels_from_images(images)
    denoise = pipeline.without_guidance().edit_denoiser(pipeline.label_indices(labels, len(pixels)))
    x0, levels = normalize(pixels).to(pipeline.runtime.device), pipeline.levels(steps, INVERSION_SIGMA_MIN)
    return final_step(editing.invert(ODE, denoise, x0, levels))


def decode_noise(
    pipeline: EditingModel, x: Float[Tensor, "n c h w"], *, labels: SampleLabels = UNCONDITIONAL, steps: int = 50
) -> UInt8[Tensor, "n c h w"]:
    """The images that the ODE generates from noise such as `invert` returns, as uint8."""
    denoise = pipeline.without_guidance().edit_denoiser(pipeline.label_indices(labels, len(x)))
    return pixels_from(final_step(ODE(denoise, x, pipeline.levels(steps, INVERSION_SIGMA_MIN), editing.no_noise)).x)


def interpolate_images(
    pipeline: EditingModel,
    first: ImagesLike,
    second: ImagesLike,
    n: int = 6,
    *,
    labels: SampleLabels = UNCONDITIONAL,
    steps: int = 50,
) -> UInt8[Tensor, "n c h w"]:
    """n images from the first to the second, both included, from interpolated noise (Song et al. 2021).

    `first` and `second` are batches of one image; the label is the same for all. Raises as `inpaint`.
    """
    ends = torch.cat([pipeline.pixels_from_images(first), pipeline.pixels_from_images(second)])
    if len(ends) != 2:
        raise ValueError(f"{len(ends)} images to interpolate: expected one in each batch")
    denoise = pipeline.without_guidance().edit_denoiser(pipeline.label_indices(labels, 1))
    x0, levels = normalize(ends).to(pipeline.runtime.device), pipeline.levels(steps, INVERSION_SIGMA_MIN)
    return pixels_from(final_step(editing.interpolate(ODE, denoise, x0, torch.linspace(0, 1, n), levels)).x)


def interpolate_seeds(
    pipeline: EditingModel,
    first: int,
    second: int,
    n: int = 6,
    *,
    labels: SampleLabels = UNCONDITIONAL,
    steps: int = 50,
    sampler: Sampler = ODE,
) -> UInt8[Tensor, "n c h w"]:
    """n images from the sample of one seed to that of another, both included, from interpolated noise (Song et al.
    2020, section 5.3).

    The label is the same for all. Raises ValueError for a sampler that adds noise.
    """
    levels = pipeline.levels(steps)
    ends = seeded_noise([first, second], pipeline.image_shape, pipeline.runtime.device)()
    x = levels[0].sigma * editing.slerp_between(ends, torch.linspace(0, 1, n))
    denoise = pipeline.edit_denoiser(pipeline.label_indices(labels, 1))
    return pixels_from(final_step(sampler(denoise, x, levels, editing.no_noise)).x)
