"""A trained model with all that sampling and editing need: one object from a checkpoint, a file or a training run."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from limpid.data import Data
from limpid.data.convert import ImagesLike, pixels_from_images
from limpid.data.images import normalize
from limpid.diffusion import editing
from limpid.diffusion.denoiser import Denoiser, DenoiserWithVariance
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.level import Level
from limpid.diffusion.samplers import Heun, Sampler
from limpid.diffusion.samplers.steps import SamplerStep, final_step
from limpid.diffusion.schedules import extended_to_sigma, sampling_levels
from limpid.nets import own_network
from limpid.recipes.recipe import Recipe, Sampling, preview_recipe
from limpid.recipes.registry import with_changes
from limpid.recipes.serialize import to_dict
from limpid.runtime.device import Runtime
from limpid.runtime.oom import find_executable_batch_size
from limpid.sampling.checkpoints import CheckpointInfo, CheckpointRef, find_checkpoint, guidance_model, load_model
from limpid.sampling.labels import UNCONDITIONAL, balanced_labels, check_labels, label_from_word
from limpid.sampling.sample import (
    ImageShape,
    check_starts_solvable,
    make_denoiser,
    pixels_from,
    sampler_steps,
    seeded_noise,
)
from limpid.sampling.samples import Samples
from limpid.storage.checkpoint import write_checkpoint
from limpid.viz.class_sheets import sheet_classes

MapFn: TypeAlias = Callable[[Callable[[int], Tensor], Iterable[int]], Iterator[Tensor]]
"""What calls a function for each of some numbers, in their order: `map`, or `distributed.parallel_map`."""
SampleLabels: TypeAlias = Sequence[int | str] | int | str | None
"""Classes by name or index, in equal parts or one for each sample; "none" for no label, None for all classes."""
ODE = Heun()
"""The solver of inversion and interpolation."""
INVERSION_SIGMA_MIN = 0.002
"""The sigma at which inversion begins, that of Karras et al. (2022): it takes the image for one of this level."""


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A denoiser from a checkpoint, with what is needed to sample from it."""

    model: Denoiser
    recipe: Recipe
    image_shape: ImageShape
    """Channels, height and width of an image."""
    class_names: tuple[str, ...] = ()
    """The names of the classes; empty for an unconditional model."""
    images_seen: int = 0
    """Images shown to the network in training."""
    class_counts: tuple[int, ...] = ()
    """How many training images each class has; empty where that is not known."""
    runtime: Runtime = Runtime("cpu", "float32")
    """The device and precision of sampling; the model is on this device already."""
    guide: Denoiser | None = None
    """The guidance model, once it is loaded."""

    @property
    def class_shares(self) -> tuple[int, ...]:
        """Numbers of images with each class in the training set's shares; one of each where those are not known."""
        return self.class_counts or (1,) * len(self.class_names)

    def with_sampling(self, sampling: Sampling | None = None, **changes: object) -> "Pipeline":
        """The same model, sampled by other settings: `steps`, `sampler`, `guidance` (a scale or a `Guidance`), ...

        Raises ValueError for a name that is no setting.
        """
        old = self.recipe.sampling
        new = with_changes(sampling or old, changes, "sampling")
        guide = self.guide if new.guidance_model == old.guidance_model else None
        return replace(self, recipe=replace(self.recipe, sampling=new), guide=guide)

    def with_data(self, data: Data) -> "Pipeline":
        """The same model, whose training data is at another path."""
        return replace(self, recipe=replace(self.recipe, data=data))

    def with_guide(self) -> "Pipeline":
        """The same model with its guidance model loaded, from the newest checkpoint of its run, if it names one."""
        name = guidance_model(self.recipe.sampling)
        return self if self.guide or not name else replace(self, guide=load_model(find_checkpoint(name), self.runtime))

    def for_preview(self) -> "Pipeline":
        """The same model, sampled quickly enough to look at: by at most 50 steps."""
        return replace(self, recipe=preview_recipe(self.recipe))

    def without_guidance(self, clip: bool = False) -> "Pipeline":
        """The model alone: guidance and clipping make an ODE that is hard to invert."""
        return self.with_sampling(guidance=Guidance(), guidance_model="", clip_denoised=clip)

    def label_indices(self, labels: SampleLabels, n: int) -> list[int] | None:
        """The label of each of n samples: of the named classes in equal blocks, or one for each.

        None is all classes, or ten of them where there are more than n; "none" is no label, which is the answer for an
        unconditional model too. Raises ValueError for what is no class of this model.
        """
        words = [labels] if isinstance(labels, int | str) else list(labels or [])
        if words == [UNCONDITIONAL] and UNCONDITIONAL not in self.class_names:
            if self.class_names and not self.recipe.label_dropout:
                choices = ", ".join(self.class_names)
                raise ValueError(f"this model was trained with a label for every image: choose from {choices}")
            return None
        if not words and not self.class_names:
            return None
        every = len(self.class_names)
        found = [label_from_word(w, self.class_names) if isinstance(w, str) and every else w for w in words]
        if not every:
            raise ValueError(f"this model knows no classes, so it has no labels {' '.join(map(str, words))}")
        if len(found) > n:
            raise ValueError(f"{len(found)} labels for {n} samples: expected one for each, or fewer in equal parts")
        found = found or (sheet_classes(every) if n < every else list(range(every)))
        indices = [int(found[block]) for block in balanced_labels(n, len(found)) or []]
        check_labels(indices, n, every)
        return indices

    def sample(
        self,
        n: int = 64,
        *,
        labels: SampleLabels = None,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        steps: int | None = None,
        sampler: Sampler | None = None,
        guidance: float | Guidance | None = None,
        batch_size: int = 64,
    ) -> Samples:
        """n new images from the seeds `seed`, `seed` + 1, ..., or one from each of `seeds`.

        `labels` are classes by name or index, in equal parts or one for each sample; None is all classes, "none" is no
        label.
        `guidance` is the scale s in D_guide + s (D - D_guide): 1 is off. The same seed, label and settings give the
        same image in any batch. Raises ValueError for labels that are no classes and settings that cannot be used,
        FloatingPointError for samples that hold NaN or inf.
        """
        chosen = list(range(seed, seed + n) if seeds is None else seeds)
        if not chosen or batch_size < 1:
            raise ValueError(f"{len(chosen)} samples in batches of {batch_size}: expected at least 1 of each")
        given = {"steps": steps, "sampler": sampler, "guidance": guidance}
        pipeline = self.with_sampling(**{name: value for name, value in given.items() if value is not None})
        indices = self.label_indices(labels, len(chosen))
        pixels = torch.cat(list(pipeline.sample_batches(chosen, indices, batch_size)))
        return Samples(pixels, None if indices is None else tuple(indices), tuple(chosen), self.class_names)

    def sample_batches(
        self, seeds: Sequence[int], labels: Sequence[int] | None = None, batch_size: int = 64, map_fn: MapFn = map
    ) -> Iterator[UInt8[Tensor, "b c h w"]]:
        """One image per seed, `batch_size` at a time, as uint8 on the CPU; `labels` has one class per seed, or is None.

        Where memory runs out a batch is sampled in parts. With `distributed.parallel_map` the processes share the
        batches; each then has all of them. Raises as `sample`.
        """
        pipeline, fitting = self.with_guide(), batch_size
        if labels is not None:
            check_labels(labels, len(seeds), self.model.null_label)

        def sample_part(part: slice) -> UInt8[Tensor, "b c h w"]:
            here = None if labels is None else labels[part]
            return pixels_from(final_step(pipeline.trajectory(seeds[part], labels=here)).x)

        def sample_batch(first: int) -> UInt8[Tensor, "b c h w"]:
            nonlocal fitting
            end = min(first + batch_size, len(seeds))

            def in_parts(size: int) -> UInt8[Tensor, "b c h w"]:
                return torch.cat([sample_part(slice(i, min(i + size, end))) for i in range(first, end, size)])

            pixels, fitting = find_executable_batch_size(in_parts, fitting)
            return pixels

        yield from map_fn(sample_batch, range(0, len(seeds), batch_size))

    def trajectory(self, seeds: Sequence[int], *, labels: Sequence[int] | None = None) -> Iterator[SamplerStep]:
        """Every step from noise to the images of `seeds`, the initial noise first; `labels` are one class per seed."""
        if labels is not None:
            check_labels(labels, len(seeds), self.model.null_label)
        noise = seeded_noise(seeds, self.image_shape, self.runtime.device)
        return sampler_steps(self.model, self.denoiser(labels), self.recipe, noise)

    def denoiser(self, labels: Sequence[int] | None = None) -> DenoiserWithVariance:
        """E[x0 | x] as a function of x and its level, guided and clipped as the sampling says.

        `labels` has one class for each image of a batch, or for each of the equal blocks that a batch is made of.
        """
        pipeline = self.with_guide()

        @cache
        def of_batch(size: int) -> DenoiserWithVariance:
            indices = None
            if labels is not None:
                each = torch.tensor(labels, device=pipeline.runtime.device)
                indices = each.repeat_interleave(size // len(labels))
            return make_denoiser(pipeline.model, pipeline.recipe, indices, pipeline.runtime, pipeline.guide)

        return DenoiserWithVariance(lambda x, level: of_batch(len(x)).denoise_with_variance(x, level))

    def inpaint(
        self,
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
        pixels, n = self.pixels_from_images(images), num_variations
        indices, levels = self.label_indices(labels, len(pixels)), self.levels(steps)
        seeds = [seed + i for i in range(n)] * len(pixels)
        noise = seeded_noise(seeds, self.image_shape, self.runtime.device)
        known = normalize(pixels).repeat_interleave(n, 0).to(self.runtime.device)
        denoise, x = self.edit_denoiser(indices), levels[0].sigma * noise()
        final = final_step(editing.inpaint(denoise, x, levels, noise, known, mask.to(self.runtime.device), resample))
        repeated = None if indices is None else tuple(label for label in indices for _ in range(n))
        return Samples(pixels_from(final.x), repeated, tuple(seeds), self.class_names)

    def img2img(
        self,
        images: ImagesLike,
        strength: float = 0.5,
        *,
        labels: SampleLabels = UNCONDITIONAL,
        seed: int = 0,
        steps: int = 50,
        sampler: Sampler = ODE,
    ) -> Samples:
        """Each image with noise added and removed again (SDEdit: Meng et al. 2022); at `strength` 0 it is not changed.

        Image i has the noise of seed `seed` + i. Raises as `inpaint`.
        """
        pixels = self.pixels_from_images(images)
        indices = self.label_indices(labels, len(pixels))
        final = final_step(self.img2img_steps(pixels, strength, indices, seed, steps, sampler))
        seeds = tuple(range(seed, seed + len(pixels)))
        return Samples(pixels_from(final.x), None if indices is None else tuple(indices), seeds, self.class_names)

    def img2img_steps(
        self,
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
        levels = editing.from_strength(self.levels(steps), strength)
        noise = seeded_noise(range(seed, seed + len(pixels)), self.image_shape, self.runtime.device)
        x0 = normalize(pixels).to(self.runtime.device)
        return editing.sdedit(sampler, self.edit_denoiser(labels), x0, levels, noise)

    def invert(self, images: ImagesLike, *, labels: SampleLabels = UNCONDITIONAL, steps: int = 50) -> SamplerStep:
        """The noise that the probability-flow ODE makes the images of (Song et al. 2021): x of the step, at its level.

        Without guidance or clipping. `decode` makes images of it again. Raises as `inpaint`.
        """
        pixels = self.pixels_from_images(images)
        denoise = self.without_guidance().edit_denoiser(self.label_indices(labels, len(pixels)))
        x0, levels = normalize(pixels).to(self.runtime.device), self.levels(steps, INVERSION_SIGMA_MIN)
        return final_step(editing.invert(ODE, denoise, x0, levels))

    def decode(
        self, x: Float[Tensor, "n c h w"], *, labels: SampleLabels = UNCONDITIONAL, steps: int = 50
    ) -> UInt8[Tensor, "n c h w"]:
        """The images that the ODE makes of noise such as `invert` gives, as uint8."""
        denoise = self.without_guidance().edit_denoiser(self.label_indices(labels, len(x)))
        return pixels_from(final_step(ODE(denoise, x, self.levels(steps, INVERSION_SIGMA_MIN), editing.no_noise)).x)

    def interpolate(
        self,
        first: ImagesLike,
        second: ImagesLike,
        n: int = 6,
        *,
        labels: SampleLabels = UNCONDITIONAL,
        steps: int = 50,
    ) -> UInt8[Tensor, "n c h w"]:
        """n images from the one to the other, both ends included, by the noise between theirs (Song et al. 2021).

        Takes a batch of one image twice; the label is the same for all. Raises as `inpaint`.
        """
        ends = torch.cat([self.pixels_from_images(first), self.pixels_from_images(second)])
        if len(ends) != 2:
            raise ValueError(f"{len(ends)} images to interpolate: expected one and another one")
        denoise = self.without_guidance().edit_denoiser(self.label_indices(labels, 1))
        x0, levels = normalize(ends).to(self.runtime.device), self.levels(steps, INVERSION_SIGMA_MIN)
        return pixels_from(final_step(editing.interpolate(ODE, denoise, x0, torch.linspace(0, 1, n), levels)).x)

    def levels(self, steps: int, lowest: float = math.inf) -> Level:
        """The levels of sampling in so many steps, continued down to sigma `lowest` at least."""
        if steps < 1:
            raise ValueError(f"steps {steps}: expected at least 1")
        schedule = extended_to_sigma(self.recipe.sampling_schedule, lowest)
        levels = sampling_levels(schedule, steps, self.recipe.sampling.spacing)
        check_starts_solvable(self.model, levels)
        return levels

    def edit_denoiser(self, labels: Sequence[int] | None) -> DenoiserWithVariance:
        """`denoiser`, without guidance where there are no labels and no guidance model to guide."""
        unguided = labels is None and not self.recipe.sampling.guidance_model
        pipeline = self.without_guidance(clip=self.recipe.sampling.clip_denoised) if unguided else self
        return pipeline.denoiser(labels)

    def pixels_from_images(self, images: ImagesLike) -> UInt8[Tensor, "n c h w"]:
        """Images as uint8. Raises ValueError unless they have the model's shape."""
        pixels = pixels_from_images(images)
        if tuple(pixels.shape[1:]) != tuple(self.image_shape):
            given = "x".join(map(str, pixels.shape[1:]))
            raise ValueError(f"images of {given}: this model takes {'x'.join(map(str, self.image_shape))}")
        return pixels

    def save(self, path: Path | str) -> Path:
        """Write the model to one file that `load` reads: weights, recipe, classes; nothing to train on with."""
        if Path(path).suffix != ".safetensors":
            raise ValueError(f"{path}: expected a file that ends in .safetensors")
        tensors = {f"ema.{name}": weight for name, weight in self.model.net.state_dict().items()}
        info = CheckpointInfo(
            self.images_seen,
            self.image_shape,
            self.class_names,
            self.recipe,
            self.images_seen,
            class_counts=self.class_counts,
        )
        return write_checkpoint(Path(path), tensors, to_dict(info))


def load(
    path: Path | str,
    *,
    weights: Literal["ema", "raw"] = "ema",
    network: nn.Module | None = None,
    runtime: Runtime | None = None,
) -> Pipeline:
    """The model of a run folder (its newest checkpoint), of a checkpoint, or of a pretrained name.

    A model that was trained with one's own `network` is given such a module again. Raises ValueError if there is no
    checkpoint, or the file is broken or does not fit its own recipe.
    """
    ref = find_checkpoint(path)
    if network is not None:
        ref = replace(ref, about=replace(ref.about, recipe=replace(ref.about.recipe, network=own_network(network))))
    return load_checkpoint(ref, runtime, weights)


def load_checkpoint(
    ref: CheckpointRef, runtime: Runtime | None = None, weights: Literal["ema", "raw"] = "ema"
) -> Pipeline:
    """The model of a checkpoint that was found before. Raises ValueError if the file has gone or changed since."""
    about, runtime = ref.about, (runtime or Runtime()).resolve()
    model = load_model(ref, runtime, weights)
    names, counts = (about.class_names, about.class_counts) if about.recipe.class_conditional else ((), ())
    return Pipeline(model, about.recipe, about.image_shape, names, about.images_seen, counts, runtime)
