"""Sheets of edits with a trained model: inpainting, image to image, inversion and interpolation of real images."""

from collections.abc import Sequence
from itertools import chain

import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from limpid.diffusion.samplers import Sampler
from limpid.diffusion.samplers.steps import final_step
from limpid.sampling.labels import UNCONDITIONAL, SampleLabels
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import pixels_from, to_display_pixels
from limpid.viz.image_grid import strip

Pixels = UInt8[Tensor, "n c h w"]
ERROR_SCALE = 32
"""Factor that makes an error of one grey level visible."""


def inpaint_sheet(
    pipeline: Pipeline,
    pixels: Pixels,
    names: Sequence[str],
    mask: Bool[Tensor, "h w"],
    *,
    labels: SampleLabels = UNCONDITIONAL,
    seed: int = 0,
    num_variations: int = 6,
    steps: int = 50,
    resample: int = 5,
) -> Image.Image:
    """A row for each image: the image, its known part, and several samples of the rest."""
    n = num_variations
    filled = pipeline.inpaint(
        pixels, mask, labels=labels, seed=seed, num_variations=n, steps=steps, resample=resample
    ).pixels.unflatten(0, (len(pixels), n))
    known = torch.where(mask, checkerboard_like(pixels), pixels)
    column_labels = ["image", "known part", *(f"seed {seed + i}" for i in range(n))]
    title = "Inpainting: the checked part is generated, from a seed each"
    return strip(torch.cat([pixels[:, None], known[:, None], filled], 1), names, column_labels, title)


def img2img_sheet(
    pipeline: Pipeline,
    pixels: Pixels,
    names: Sequence[str],
    strengths: Sequence[float],
    *,
    labels: SampleLabels = UNCONDITIONAL,
    seed: int = 0,
    steps: int = 50,
    sampler: Sampler,
) -> Image.Image:
    """Two rows for each image, a column for each strength: the noisy image, and the sample that starts from it."""
    indices, columns = pipeline.label_indices(labels, len(pixels)), [torch.stack([pixels, pixels], 1)]
    for strength in strengths:
        trajectory = pipeline.img2img_steps(pixels, strength, indices, seed, steps, sampler)
        noisy = next(trajectory)
        final = final_step(chain([noisy], trajectory))
        columns.append(torch.stack([to_display_pixels(noisy), pixels_from(final.x)], 1))
    rows = [word for name in names for word in (f"{name}, noisy", "sampled from it")]
    column_labels = ["image", *(f"strength {strength:g}" for strength in strengths)]
    title = "Image to image: the more noise is added, the more freely the image is sampled again"
    return strip(torch.stack(columns, 2).flatten(0, 1), rows, column_labels, title)


def inversion_sheet(
    pipeline: Pipeline, pixels: Pixels, names: Sequence[str], *, labels: SampleLabels = UNCONDITIONAL, steps: int = 50
) -> Image.Image:
    """A row for each image: the image, its noise, the image decoded from that noise, and the error."""
    noise = pipeline.invert(pixels, labels=labels, steps=steps)
    decoded = pipeline.decode(noise.x, labels=labels, steps=steps)
    error = (decoded.int() - pixels.int()).abs()
    visible = (error * ERROR_SCALE).clamp(max=255).to(torch.uint8)
    halved = to_display_pixels(noise._replace(x=noise.x / 2))
    column_labels = ["image", "its noise", "decoded", f"error x {ERROR_SCALE}"]
    rms = error.double().square().mean().sqrt().item()
    title = f"Inversion: from an image to its noise and back\n(RMS error {rms:.2g} of 255 grey levels)"
    return strip(torch.stack([pixels, halved, decoded, visible], 1), names, column_labels, title)


def interpolation_sheet(
    pipeline: Pipeline,
    pixels: Pixels,
    names: Sequence[str],
    *,
    labels: Sequence[int] | None = None,
    num_variations: int = 6,
    steps: int = 50,
) -> Image.Image:
    """A row for each pair of images: the first, samples from noises between theirs, the second.

    Raises ValueError for an odd number of images, and for two labels in one pair.
    """
    if len(pixels) % 2:
        raise ValueError(f"{len(pixels)} images: interpolation takes them in pairs")
    if labels and labels[::2] != labels[1::2]:
        raise ValueError("--labels: interpolation needs the same class for both images of a pair")
    rows = []
    for i in range(0, len(pixels), 2):
        first, second = pixels[i : i + 1], pixels[i + 1 : i + 2]
        label = labels[i] if labels else UNCONDITIONAL
        between = pipeline.interpolate(first, second, num_variations, labels=label, steps=steps)
        rows.append(torch.cat([first, between, second]))
    column_labels = ["image", *(f"{100 * t:.0f} %" for t in torch.linspace(0, 1, num_variations).tolist()), "image"]
    pairs = [f"{one} to {other}" for one, other in zip(names[::2], names[1::2], strict=True)]
    return strip(torch.stack(rows), pairs, column_labels, "Interpolation: samples from noises between two images")


def seed_interpolation_sheet(
    pipeline: Pipeline,
    seeds: Sequence[int],
    sampler: Sampler,
    *,
    labels: Sequence[int] | None = None,
    num_variations: int = 6,
    steps: int = 50,
) -> Image.Image:
    """A row for each pair of seeds: the sample of the first, samples from noises between theirs, that of the second.

    Raises ValueError for an odd number of seeds.
    """
    if len(seeds) % 2:
        raise ValueError(f"{len(seeds)} --seeds: interpolation takes them in pairs")
    pairs = list(zip(seeds[::2], seeds[1::2], strict=True))
    pair_labels = labels or [UNCONDITIONAL] * len(pairs)
    rows = [
        pipeline.interpolate_seeds(*pair, num_variations, labels=label, steps=steps, sampler=sampler)
        for pair, label in zip(pairs, pair_labels, strict=True)
    ]
    column_labels = [f"{100 * t:.0f} %" for t in torch.linspace(0, 1, num_variations).tolist()]
    names = [f"seed {first} to {second}" for first, second in pairs]
    return strip(torch.stack(rows), names, column_labels, "Interpolation: samples from noises between two seeds")


def checkerboard_like(pixels: Pixels) -> Pixels:
    """A grey checkerboard of the shape of `pixels`, which marks the unknown part of an image."""
    *_, h, w = pixels.shape
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    side = max(1, min(h, w) // 16)
    return (128 + 64 * ((y // side + x // side) % 2)).to(torch.uint8).expand_as(pixels)
