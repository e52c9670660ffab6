"""The parts of sampling: noise from seeds, the denoiser that a sampler calls, the steps from noise to images.

An image depends on its own seed alone, whatever batch it is sampled in.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import TypeAlias

import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.data.images import to_uint8
from limpid.diffusion.denoiser import Denoiser, DenoiserWithVariance, Labels
from limpid.diffusion.guidance import classifier_free, clip_x0, guide_away_from
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers.steps import Noise, SamplerStep
from limpid.diffusion.schedules import extended_to_sigma, sampling_levels
from limpid.diffusion.targets import Target, abs_c_out
from limpid.recipes.recipe import Recipe
from limpid.runtime.device import Runtime
from limpid.runtime.log import logger
from limpid.runtime.oom import find_executable_batch_size
from limpid.runtime.randn import seeded_randn
from limpid.runtime.rng import seed_for

ImageShape = tuple[int, int, int]
"""Channels, height and width."""
MapFn: TypeAlias = Callable[[Callable[[int], Tensor], Iterable[int]], Iterator[Tensor]]
"""Calls a function for each of several numbers, in order: `map`, or `distributed.parallel_map`."""
MAX_ERROR_GAIN = 1e4
"""Gain of the network's error in x0, |c_out|, from which the rounding of float32 is a thousandth of the image."""


def noise_seed(seed: int) -> int:
    """The seed of the CPU generator for the noise of the sample of `seed`."""
    return seed_for("picture", seed)


def seeded_noise(seeds: Sequence[int], shape: ImageShape, device: str) -> Noise:
    """Standard normal noise, one image per seed, generated on the CPU: the same on every device and in every batch."""
    generators = [torch.Generator("cpu").manual_seed(noise_seed(seed)) for seed in seeds]
    return partial(next, seeded_randn(generators, shape, device, prefetch=torch.device(device).type != "cpu"))


def make_denoiser(
    model: Denoiser, recipe: Recipe, labels: Labels | None, runtime: Runtime, guide: Denoiser | None = None
) -> DenoiserWithVariance:
    """The denoiser that a sampler calls: conditioned on `labels`, guided and clipped as in the recipe's sampling.

    `guide` is the weaker model that autoguidance pushes away from (Karras et al. 2024). Raises ValueError for guidance
    without a weaker model if there are no labels or label dropout was 0, and for a weaker model with other classes.
    """
    guidance = recipe.sampling.guidance
    denoise = DenoiserWithVariance(partial(model.denoise_with_variance, labels=labels))
    if guidance.enabled and guide:
        if labels is not None and guide.null_label not in (0, model.null_label):
            classes = f"the guidance model has {guide.null_label} classes, and this one {model.null_label}"
            raise ValueError(f"{classes}: a label would mean another class to each")
        denoise = guide_away_from(denoise, partial(guide, labels=labels if guide.null_label else None), guidance)
    elif guidance.enabled and labels is None:
        raise ValueError(
            "guidance needs labels, or a weaker model (--guidance-model): else set the guidance scale to 1"
        )
    elif guidance.enabled and not recipe.label_dropout:
        raise ValueError(
            "this model was trained without label dropout, so guidance needs a weaker model: name one with "
            "--guidance-model"
        )
    elif guidance.enabled and labels is not None:
        denoise = classifier_free(model, labels, guidance)

    @torch.no_grad()
    def evaluate(x: Batch, level: Level) -> tuple[Batch, Batch | None]:
        with runtime.autocast():
            return denoise.denoise_with_variance(x, level)

    return clip_x0(DenoiserWithVariance(evaluate)) if recipe.sampling.clip_denoised else DenoiserWithVariance(evaluate)


def denoiser_of_blocks(
    model: Denoiser, recipe: Recipe, labels: Sequence[int] | None, runtime: Runtime, guide: Denoiser | None = None
) -> DenoiserWithVariance:
    """`make_denoiser` for batches of any size; `labels` has one class for each of the equal blocks of a batch."""

    @cache
    def of_batch(size: int) -> DenoiserWithVariance:
        if labels is None:
            return make_denoiser(model, recipe, None, runtime, guide)
        indices = torch.tensor(labels, device=runtime.device).repeat_interleave(size // len(labels))
        return make_denoiser(model, recipe, indices, runtime, guide)

    return DenoiserWithVariance(lambda x, level: of_batch(len(x)).denoise_with_variance(x, level))


def levels_of_recipe(model: Denoiser, recipe: Recipe, steps: int, lowest: float = math.inf) -> Level:
    """The levels of the recipe's sampling in `steps` steps, continued down to sigma `lowest` at least.

    Raises ValueError where the schedule has no such levels, and where the first one cannot be solved for x0.
    """
    levels = sampling_levels(extended_to_sigma(recipe.sampling_schedule, lowest), steps, recipe.sampling.spacing)
    check_starts_solvable(model, levels)
    return levels


def sampler_steps(
    model: Denoiser, denoise: DenoiserWithVariance, recipe: Recipe, noise: Noise, initial: Batch | None = None
) -> Iterator[SamplerStep]:
    """Every step of the recipe's sampler from noise to images, the initial noise first.

    `initial` is x at the first level instead of fresh noise.
    """
    levels = levels_of_recipe(model, recipe, recipe.sampling.steps)
    x = levels[0].sigma * noise() if initial is None else initial
    yield SamplerStep(x, torch.zeros_like(x), levels[0])
    yield from recipe.sampling.sampler(denoise, x, levels, noise)


def sample_in_batches(
    sample_part: Callable[[slice], UInt8[Tensor, "b c h w"]], n: int, batch_size: int, map_fn: MapFn = map
) -> Iterator[UInt8[Tensor, "b c h w"]]:
    """Samples 0 to n, `batch_size` at a time; if memory runs out, this batch and the later ones in smaller parts."""
    fitting = batch_size

    def sample_batch(first: int) -> UInt8[Tensor, "b c h w"]:
        nonlocal fitting
        end = min(first + batch_size, n)

        def in_parts(size: int) -> UInt8[Tensor, "b c h w"]:
            return torch.cat([sample_part(slice(i, min(i + size, end))) for i in range(first, end, size)])

        pixels, fitting = find_executable_batch_size(in_parts, fitting)
        return pixels

    return map_fn(sample_batch, range(0, n, batch_size))


def check_starts_solvable(model: Denoiser, levels: Level) -> None:
    """Raise ValueError unless x0 can be computed in float32 from the network's output at the first of these levels.

    Warns, once for each case, if rounding errors alone could be visible in the image.
    """
    gain = abs_c_out(model.target, levels[0]).item()
    if not gain < 1 / torch.finfo(torch.float32).eps:
        raise ValueError(
            f"{model.target} does not determine x0 at pure noise, where the sampler begins: choose another target, "
            "like V, or another sampling schedule, like Karras"
        )
    if gain >= MAX_ERROR_GAIN:
        warn_near_pure_noise(model.target, gain)


@lru_cache
def warn_near_pure_noise(target: Target, gain: float) -> None:
    """Warn, once a process, that an error of the network is multiplied by `gain` in the sampler's first x0."""
    rounding = gain * torch.finfo(torch.float32).eps
    logger.warning(
        f"{target} near pure noise: an error of the network counts {gain:.1g} times in the sampler's first x0, and "
        f"rounding alone is {rounding:.1g} there; sample along a schedule with less noise, like Karras, or train V"
    )


def pixels_from(x: Batch) -> UInt8[Tensor, "b c h w"]:
    """Samples in [-1, 1] as uint8 on the CPU. Raises FloatingPointError for NaN or inf, which would become black."""
    if lost := int((~x.isfinite()).flatten(1).any(1).sum()):
        advice = "check the guidance, the sampler's options and the loss of the run"
        raise FloatingPointError(f"{lost} of {len(x)} samples hold NaN or inf: {advice}")
    return to_uint8(x).cpu()


def to_display_pixels(step: SamplerStep) -> UInt8[Tensor, "b c h w"]:
    """The noisy images of a step as uint8, scaled to alpha^2 + sigma^2 = 1, so that their range is the same on any
    path."""
    return pixels_from(step.x / torch.hypot(step.level.alpha, step.level.sigma))
