"""A trained model with all that sampling and editing need, from a checkpoint, a file or a training run."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from limpid.data import Data
from limpid.data.convert import ImagesLike, pixels_from_images
from limpid.diffusion.denoiser import Denoiser, DenoiserWithVariance
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.level import Level
from limpid.diffusion.samplers import Sampler
from limpid.diffusion.samplers.steps import SamplerStep, final_step
from limpid.nets import own_network
from limpid.recipes.recipe import Recipe, Sampling, preview_recipe
from limpid.recipes.registry import with_changes
from limpid.recipes.serialize import to_dict
from limpid.runtime.device import Runtime
from limpid.sampling import edit
from limpid.sampling.checkpoints import CheckpointInfo, CheckpointRef, find_checkpoint, guidance_model, load_model
from limpid.sampling.labels import SampleLabels, check_labels, label_indices
from limpid.sampling.sample import (
    ImageShape,
    MapFn,
    denoiser_of_blocks,
    levels_of_recipe,
    pixels_from,
    sample_in_batches,
    sampler_steps,
    seeded_noise,
)
from limpid.sampling.samples import Samples
from limpid.storage.checkpoint import write_checkpoint


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
        """Relative frequencies of the classes in the training set, as integers; equal if they are not known."""
        return self.class_counts or (1,) * len(self.class_names)

    def with_sampling(self, sampling: Sampling | None = None, **changes: object) -> "Pipeline":
        """The same model, sampled by other settings: `steps`, `sampler`, `guidance` (a scale or a `Guidance`), ...

        Raises ValueError for a name that is not a setting.
        """
        old = self.recipe.sampling
        new = with_changes(sampling or old, changes, "sampling")
        guide = self.guide if new.guidance_model == old.guidance_model else None
        return replace(self, recipe=replace(self.recipe, sampling=new), guide=guide)

    def with_data(self, data: Data) -> "Pipeline":
        """The same model with another path of its training data."""
        return replace(self, recipe=replace(self.recipe, data=data))

    def with_guide(self) -> "Pipeline":
        """The same model with its guidance model loaded, from the newest checkpoint of its run, if it names one."""
        name = guidance_model(self.recipe.sampling)
        return self if self.guide or not name else replace(self, guide=load_model(find_checkpoint(name), self.runtime))

    def for_preview(self) -> "Pipeline":
        """The same model with fast sampling for a preview: at most 50 steps."""
        return replace(self, recipe=preview_recipe(self.recipe))

    def without_guidance(self, clip: bool = False) -> "Pipeline":
        """The same model without guidance, and without clipping: with them the ODE is hard to invert."""
        return self.with_sampling(guidance=Guidance(), guidance_model="", clip_denoised=clip)

    def label_indices(self, labels: SampleLabels, n: int) -> list[int] | None:
        """The label of each of n samples, from what `sample` takes as labels; None is no label. Raises as `sample`."""
        return label_indices(labels, n, self.class_names, optional=self.recipe.label_dropout > 0)

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
        label. `guidance` is the scale s in D_guide + s (D - D_guide): 1 is off. The same seed, label and settings give
        the same image in any batch. Raises ValueError for unknown classes and for settings that cannot be used,
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

        If memory runs out, a batch is sampled in parts. With `distributed.parallel_map` the batches are divided among
        the processes, and each gets all of them. Raises as `sample`.
        """
        pipeline = self.with_guide()
        if labels is not None:
            check_labels(labels, len(seeds), self.model.null_label)

        def sample_part(part: slice) -> UInt8[Tensor, "b c h w"]:
            steps = pipeline.trajectory(seeds[part], labels=None if labels is None else labels[part])
            return pixels_from(final_step(steps).x)

        return sample_in_batches(sample_part, len(seeds), batch_size, map_fn)

    def trajectory(self, seeds: Sequence[int], *, labels: Sequence[int] | None = None) -> Iterator[SamplerStep]:
        """Every step from noise to the images of `seeds`, the initial noise first; `labels` are one class per seed."""
        if labels is not None:
            check_labels(labels, len(seeds), self.model.null_label)
        noise = seeded_noise(seeds, self.image_shape, self.runtime.device)
        return sampler_steps(self.model, self.denoiser(labels), self.recipe, noise)

    def denoiser(self, labels: Sequence[int] | None = None) -> DenoiserWithVariance:
        """E[x0 | x] as a function of x and its level, guided and clipped as in the sampling settings.

        `labels` has one class for each image of a batch, or for each of the equal blocks that a batch is made of.
        """
        return denoiser_of_blocks(self.model, self.recipe, labels, self.runtime, self.with_guide().guide)

    # The methods of `edit.py`, where their signatures and docstrings are.
    inpaint = edit.inpaint_images
    img2img = edit.sdedit_images
    img2img_steps = edit.sdedit_steps
    invert = edit.invert_images
    decode = edit.decode_noise
    interpolate = edit.interpolate_images
    interpolate_seeds = edit.interpolate_seeds

    def levels(self, steps: int, lowest: float = math.inf) -> Level:
        """The levels of sampling in `steps` steps, continued down to sigma `lowest` at least."""
        return levels_of_recipe(self.model, self.recipe, steps, lowest)

    def edit_denoiser(self, labels: Sequence[int] | None) -> DenoiserWithVariance:
        """`denoiser`, without guidance if there are neither labels nor a guidance model."""
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
        """Write the model to one file that `load` reads: weights, recipe and classes, without the state of training."""
        if Path(path).suffix != ".safetensors":
            raise ValueError(f"{path}: expected a file that ends in .safetensors")
        tensors = {f"ema.{name}": weight for name, weight in self.model.net.state_dict().items()}
        seen, counts = self.images_seen, self.class_counts
        info = CheckpointInfo(seen, self.image_shape, self.class_names, self.recipe, seen, class_counts=counts)
        return write_checkpoint(Path(path), tensors, to_dict(info))


def load(
    path: Path | str,
    *,
    weights: Literal["ema", "raw"] = "ema",
    network: nn.Module | None = None,
    runtime: Runtime | None = None,
) -> Pipeline:
    """The model of a run folder (its newest checkpoint), of a checkpoint, of a pretrained name, or of the Hub, as in
    "hf:user/name" or "hf:user/name@revision".

    For a model that was trained with your own `network`, pass such a module again. Raises ValueError if there is no
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
