"""Drawing: seeds in, pictures out. A picture depends on its own seed alone, whatever it is drawn together with."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import TypeAlias

import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.data.images import to_uint8
from limpid.diffusion.denoiser import Denoiser, DenoiserWithVariance, Labels
from limpid.diffusion.guidance import classifier_free, clipped, guided
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers.steps import Noise, SamplerStep, final_step
from limpid.diffusion.schedules import sampling_levels
from limpid.diffusion.targets import Target, abs_c_out
from limpid.recipes.recipe import Recipe
from limpid.recipes.serialize import ABBREVIATE
from limpid.runtime.device import Runtime
from limpid.runtime.log import warn
from limpid.runtime.oom import find_executable_batch_size
from limpid.runtime.randn import seeded_randn
from limpid.runtime.rng import generator
from limpid.sampling.load import ImageShape, Pipeline, load_guide

MapFn: TypeAlias = Callable[[Callable[[int], Tensor], Iterable[int]], Iterator[Tensor]]
"""What does something for each of some numbers, in their order: `map`, or `parallel.in_turns`."""
LONGEST_PERIOD = 2**22
"""Images after which the labels of an evaluation come again at the latest."""
NOISIEST = 1e4
"""How often an error of the network may count in the picture, before float32's rounding is a thousandth of it."""


def seeded_noise(seeds: Sequence[int], shape: ImageShape, device: str) -> Noise:
    """Standard normal noise, one picture per seed, drawn on the CPU: the same on every device, alone or in a batch."""
    draws = [generator("cpu", "picture", seed) for seed in seeds]
    return partial(next, seeded_randn(draws, shape, device, ahead=torch.device(device).type != "cpu"))


def make_denoiser(
    model: Denoiser, recipe: Recipe, labels: Labels | None, runtime: Runtime, guide: Pipeline | None = None
) -> DenoiserWithVariance:
    """The model as a sampler sees it: labels told, guided and clipped as the recipe's sampling says.

    Without a `guide` the weaker network that the recipe names, if any, is loaded for this. Raises ValueError for
    guidance without a weaker network where there are no labels, or none was ever withheld, and for a weaker one of
    other classes.
    """
    sampling, guidance = recipe.sampling, recipe.sampling.guidance
    guess = DenoiserWithVariance(partial(model.denoise_with_variance, labels=labels))
    if weak := (guide or load_guide(sampling, runtime)) if guidance.enabled else None:
        if labels is not None and weak.class_names and len(weak.class_names) != model.null_label:
            given = f"the weaker network knows {len(weak.class_names)} classes, and this one {model.null_label}"
            raise ValueError(f"{given}: a label would mean another class to each")
        guess = guided(guess, partial(weak.model, labels=labels if weak.class_names else None), guidance)
    elif guidance.enabled and labels is None:
        raise ValueError("guidance needs labels, or a weaker network as its guide: else set the guidance scale to 1")
    elif guidance.enabled and not recipe.label_dropout:
        raise ValueError("this network was told every label, so guidance needs a weaker one: name it as the guide")
    elif guidance.enabled and labels is not None:
        guess = classifier_free(model, labels, guidance)

    @torch.no_grad()
    def look(x: Batch, level: Level) -> tuple[Batch, Batch | None]:
        with runtime.autocast():
            return guess.denoise_with_variance(x, level)

    return clipped(DenoiserWithVariance(look)) if sampling.clip_denoised else DenoiserWithVariance(look)


def check_starts_solvable(model: Denoiser, levels: Level) -> None:
    """Whether the network's answer, in float32, says what the picture is at the first of these levels.

    Raises ValueError if it says nothing; warns, once for each case, where rounding alone could be seen in the picture.
    """
    counts = abs_c_out(model.target, levels[0]).item()
    if not counts < 1 / torch.finfo(torch.float32).eps:
        raise ValueError(
            f"{model.target} says nothing of the picture where there is noise alone, and there the sampler begins: "
            "choose another target, like V, or another schedule to sample along, like Karras"
        )
    if counts >= NOISIEST:
        warn_near_pure_noise(model.target, counts)


@lru_cache
def warn_near_pure_noise(target: Target, counts: float) -> None:
    """Say, once a process, that an error of the target counts so many times in the first picture of the sampler."""
    rounding = counts * torch.finfo(torch.float32).eps
    warn(
        f"{target} near pure noise: an error counts {counts:.1g} times in the picture that the sampler first sees, and "
        f"rounding makes {rounding:.1g} of it; sample along levels that begin with less noise, like Karras, or train V"
    )


def trajectory(
    model: Denoiser,
    recipe: Recipe,
    seeds: Sequence[int],
    shape: ImageShape,
    runtime: Runtime,
    labels: Labels | None = None,
    guide: Pipeline | None = None,
) -> Iterator[SamplerStep]:
    """Every step from noise to the pictures of `seeds`, the starting noise first.

    Labels are taken as they are, since to look at them would make the host wait for a GPU: `check_labels` them before.
    """
    noise = seeded_noise(seeds, shape, runtime.device)
    levels = sampling_levels(recipe.sampling_schedule, recipe.sampling.steps, recipe.sampling.spacing)
    check_starts_solvable(model, levels)
    x = levels[0].sigma * noise()
    yield SamplerStep(x, torch.zeros_like(x), levels[0])
    yield from recipe.sampling.sampler(make_denoiser(model, recipe, labels, runtime, guide), x, levels, noise)


def sample(
    model: Denoiser,
    recipe: Recipe,
    seeds: Sequence[int],
    shape: ImageShape,
    runtime: Runtime,
    labels: Sequence[int] | None = None,
    batch: int = 64,
    map_fn: MapFn = map,
    guide: Pipeline | None = None,
) -> Iterator[UInt8[Tensor, "b c h w"]]:
    """One picture per seed, `batch` at a time, as uint8 on the CPU; `labels` are one per seed.

    Where memory runs out a batch is drawn in parts. With `parallel.in_turns` for `each` the processes share the
    batches out; all have all of them. Raises ValueError for labels that are no classes of the network,
    FloatingPointError for samples that hold NaN or inf.
    """
    at_once = batch
    guide = guide or load_guide(recipe.sampling, runtime)  # once: it may train on meanwhile
    if labels is not None:
        check_labels(labels, len(seeds), model.null_label)

    def part(now: slice) -> UInt8[Tensor, "b c h w"]:
        told = None if labels is None else torch.tensor(labels[now], device=runtime.device)
        return pixels_from(final_step(trajectory(model, recipe, seeds[now], shape, runtime, told, guide)).x)

    def drawn(first: int) -> UInt8[Tensor, "b c h w"]:
        nonlocal at_once
        end = min(first + batch, len(seeds))

        def in_parts(size: int) -> UInt8[Tensor, "b c h w"]:
            return torch.cat([part(slice(i, min(i + size, end))) for i in range(first, end, size)])

        pixels, at_once = find_executable_batch_size(in_parts, at_once)
        return pixels

    yield from map_fn(drawn, range(0, len(seeds), batch))


def check_labels(labels: Sequence[int], n: int, classes: int) -> None:
    """Raise ValueError unless there is a label for each of n pictures, and each is that of a class."""
    if not classes:
        raise ValueError(f"labels {ABBREVIATE.repr(list(labels))} for a network that knows no classes: expected None")
    if len(labels) != n:
        raise ValueError(f"{len(labels)} labels for {n} pictures: expected one for each")
    if wrong := [label for label in labels if not 0 <= label < classes]:
        none = ", which stands for no label" if wrong[0] == classes else ""
        raise ValueError(f"label {wrong[0]}{none}: expected 0 to {classes - 1}, a class of the network")


def pixels_from(x: Batch) -> UInt8[Tensor, "b c h w"]:
    """Samples in [-1, 1] as pixels in the host's memory. Raises FloatingPointError where they hold NaN or inf, which as
    pixels would be black."""
    if lost := int((~x.isfinite()).flatten(1).any(1).sum()):
        advice = "look at the guidance, the sampler's options and the loss of the run"
        raise FloatingPointError(f"{lost} of {len(x)} samples hold NaN or inf: {advice}")
    return to_uint8(x).cpu()


def balanced_labels(n: int, classes: int) -> list[int] | None:
    """Labels for n pictures in equal blocks, a block per class; None where there are no classes."""
    return [i * classes // n for i in range(n)] if classes else None


def class_shares(pipeline: Pipeline) -> tuple[int, ...]:
    """How many images of each class stand for the training set: as many as it has, or one where that is not known."""
    return pipeline.class_counts or (1,) * len(pipeline.class_names)


def labels_by_share(seeds: Sequence[int], class_counts: Sequence[int]) -> list[int]:
    """A label for each seed, which it alone decides: any stretch of seeds has the classes in the shares of the counts.

    The j-th of a class's c images stands at (j + 1/2) / c of a period that holds all of them, so that the number of
    each class in a stretch is off by few images; equal counts give the classes in turn. Raises ValueError for counts
    that are no shares.
    """
    if min(class_counts, default=-1) < 0 or not any(class_counts):
        raise ValueError(f"class counts {ABBREVIATE.repr(list(class_counts))}: expected numbers of images, not all 0")
    counts = torch.tensor([count // math.gcd(*class_counts) for count in class_counts])
    if (total := counts.double().sum().item()) > LONGEST_PERIOD:
        counts = (counts.double() * (LONGEST_PERIOD / total)).ceil().long()
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    before = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels]
    order = ((before.double() + 0.5) / counts[labels]).argsort(stable=True)
    return labels[order[torch.tensor([seed % len(labels) for seed in seeds])]].tolist()
