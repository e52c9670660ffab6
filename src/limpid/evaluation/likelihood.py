"""Bits per dimension of images under a trained model, with the measurement protocol."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.data import Cifar10, Data, DataSource, Folder
from limpid.data.cifar10 import SIZES
from limpid.data.convert import ImagesLike
from limpid.data.images import ImageDataset, LabelledBatch, normalize
from limpid.data.splits import Split
from limpid.diffusion import likelihood
from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.guidance import clip_x0
from limpid.diffusion.level import Level
from limpid.diffusion.likelihood import BIN_WIDTH, DEQUANTIZATION_STD, bits_per_dimension
from limpid.diffusion.schedules import extended_to_sigma, sampling_levels
from limpid.metrics.extractors.base import in_float32
from limpid.recipes.registry import with_changes
from limpid.runtime.device import Runtime
from limpid.runtime.rng import generator
from limpid.sampling.labels import UNCONDITIONAL, SampleLabels, check_class_names
from limpid.sampling.pipeline import Pipeline

MAX_EDM_SIGMA = 1e4
"""The highest sigma / alpha to start from, for schedules that end in pure noise: no image is visible at this level."""


@dataclass(frozen=True)
class LikelihoodConfig:
    """The settings for bits per dimension."""

    n: int = 100
    """Number of images, a random subset of the data set."""
    method: Literal["bound", "continuous", "ode"] = "bound"
    """bound: the variational bound of the discrete chain (DDPM); continuous: its limit of infinitely many steps (VDM);
    ode: the density of the probability-flow ODE."""
    steps: int = 1000
    """Steps of the chain, for the bound."""
    num_levels: int = 20
    """Random levels at which the loss of each image is evaluated, for the two bounds; 0 is every step of the chain."""
    variance: Literal["small", "large"] = "small"
    """The variance of the chain's steps: small is that of the posterior, beta~; large is beta."""
    decoder: float = 1.0
    """Standard deviation of the decoder, the distribution of pixels given x, relative to the last noise level."""
    tolerance: float = 1e-3
    """Relative and absolute error tolerance of the ODE solver."""
    split: Split = "test"
    """The split of the data set, if it has splits: val and all only of your own images."""
    seed: int = 0
    """Seed of the subset and of the noise."""
    batch_size: int = 50
    """Images per batch; each batch has its own noise, so the result depends on it, within its error."""


class BitsPerDim(NamedTuple):
    """Bits per dimension of images: mean, standard error, the mean of each term, and the protocol."""

    mean: float
    error: float
    terms: dict[str, float]
    """The terms of a bound: prior, steps and decoder; empty for the ODE."""
    nfe: float
    """Network evaluations per image."""
    protocol: LikelihoodConfig
    split: str
    conditional: bool
    """Whether the model was conditioned on the classes: it is then the likelihood of an image given its class."""

    def __str__(self) -> str:
        p = self.protocol
        method = {
            "bound": f"bound of {p.steps} steps of {p.variance} variance, {p.num_levels or 'all'} evaluated",
            "continuous": f"continuous-time bound, {p.num_levels} levels evaluated",
            "ode": f"probability-flow ODE, tolerance {p.tolerance:g}, NFE {self.nfe:g}",
        }
        terms = ", ".join(f"{name} {value:.4f}" for name, value in self.terms.items())
        images = f"{p.n} {self.split}{', class-conditional' if self.conditional else ''}, seed {p.seed}"
        value = f"{self.mean:.4f} +- {self.error:.4f} bits/dim{f' ({terms})' if terms else ''}"
        return f"{value}: {method[p.method]}; {images}"


def bits_per_dim(
    pipeline: Pipeline,
    images: ImagesLike | None = None,
    *,
    labels: SampleLabels = UNCONDITIONAL,
    config: LikelihoodConfig | None = None,
    **changes: object,
) -> BitsPerDim:
    """Bits per dimension of images under a model, in float32, clipped as in its sampling, without guidance.

    Without `images`, `n` images of the model's data set with their labels are used. Otherwise all `images` are used,
    and `labels` is a class for each, by name or index, one for all, or "none". `changes` are fields of
    `LikelihoodConfig`, as in `bits_per_dim(pipeline, n=200, method="ode")`. Raises ValueError for invalid settings, for
    fewer than two images, and for images of another shape or other classes than the model's.
    """
    config = with_changes(config or LikelihoodConfig(), changes, "likelihood")
    if images is None:
        source, name = open_split(pipeline.recipe.data, config, pipeline.runtime)
        conditional = bool(pipeline.class_names)
        if conditional:
            check_class_names(pipeline.class_names, source.class_names, "this network")
    else:
        pixels = pipeline.pixels_from_images(images)
        indices, name = pipeline.label_indices(labels, len(pixels)), "images"
        source = ImageDataset(pixels, indices or [0] * len(pixels)).to(pipeline.runtime.device)
        config, conditional = replace(config, n=len(source)), indices is not None
        check_config(config, source)
    return measure(pipeline if conditional else replace(pipeline, class_names=()), source, config, name)


def measure(pipeline: Pipeline, source: DataSource, config: LikelihoodConfig, name: str) -> BitsPerDim:
    """Bits per dimension of `config.n` images, conditioned on their labels if the model has classes."""
    batches = source.batches(0, min(config.batch_size, config.n), config.seed)
    rows, evaluations = [], []
    for (pixels, labels), size in zip(batches, batch_sizes(config), strict=False):
        batch_generator = generator(pipeline.runtime.device, config.seed, "likelihood", len(rows))
        with in_float32(torch.device(pipeline.runtime.device)):
            terms, nfe = batch_nll(pipeline, config, (pixels[:size], labels[:size]), batch_generator)
        rows.append(terms)
        evaluations.append(nfe)
    table = {name: torch.cat([row[name] for row in rows]).double().cpu() for name in rows[0]}
    total = torch.stack(list(table.values())).sum(0)
    means = {name: values.mean().item() for name, values in table.items()} if len(table) > 1 else {}
    error = total.std().item() / math.sqrt(config.n)
    nfe = sum(evaluations) / len(evaluations)
    return BitsPerDim(total.mean().item(), error, means, nfe, config, name, bool(pipeline.class_names))


def open_split(data: Data, config: LikelihoodConfig, runtime: Runtime) -> tuple[DataSource, str]:
    """The images to measure with, and their name. Raises ValueError for invalid settings."""
    data, name = data_split(data, config.split)
    source = data.open(runtime.device)
    check_config(config, source)
    return source, f"images of the {name}"


def check_config(config: LikelihoodConfig, source: DataSource) -> None:
    """Raise ValueError for invalid settings, and for fewer than two images or more than there are."""
    if not 2 <= config.n <= len(source) or min(config.batch_size, config.steps) < 1 or config.num_levels < 0:
        given = f"n {config.n}, batch size {config.batch_size}, steps {config.steps}, levels {config.num_levels}"
        raise ValueError(f"{given}: expected 2 to {len(source)} images, and at least 1, 1 and 0 of the others")


def data_split(data: Data, split: Split) -> tuple[Data, str]:
    """The split of a data set that has splits, else all of it; and its name. Raises ValueError for one it has not."""
    if isinstance(data, Folder):
        return replace(data, split=split), f"{split} set" if split != "all" else "training and held-out sets"
    if not isinstance(data, Cifar10):
        return data, "complete training set"
    if split not in SIZES:
        raise ValueError(f"split {split}: CIFAR-10 has {' and '.join(SIZES)}")
    return replace(data, split=split), f"{split} set"


def batch_sizes(config: LikelihoodConfig) -> Iterator[int]:
    """The number of images of each batch."""
    return (min(config.batch_size, config.n - first) for first in range(0, config.n, config.batch_size))


def batch_nll(
    pipeline: Pipeline, config: LikelihoodConfig, batch: LabelledBatch, batch_generator: torch.Generator
) -> tuple[dict[str, Float[Tensor, " b"]], float]:
    """The terms of a batch in bits per dimension, and the network evaluations per image."""
    pixels, labels = batch
    x0 = normalize(pixels).contiguous(memory_format=torch.channels_last)
    denoise: Denoise = partial(pipeline.model, labels=labels if pipeline.class_names else None)
    denoise = clip_x0(denoise) if pipeline.recipe.sampling.clip_denoised else denoise
    levels = chain_levels(pipeline, config)
    noisy = Level(torch.ones_like(levels[0].edm_sigma), levels[0].edm_sigma.clamp(max=MAX_EDM_SIGMA))
    if config.method == "ode":
        clean = level_at(DEQUANTIZATION_STD)
        nats, nfe = likelihood.ode_likelihood(denoise, x0, noisy, clean, batch_generator, config.tolerance)
        return {"nats": bits_per_dimension(nats, x0)}, nfe
    if config.method == "bound":
        elbo = likelihood.discrete_elbo(
            denoise, x0, levels, batch_generator, config.num_levels, config.variance, config.decoder
        )
    else:
        clean, num_levels = level_at(BIN_WIDTH), max(config.num_levels, 1)
        elbo = likelihood.continuous_elbo(denoise, x0, noisy, clean, batch_generator, num_levels, config.decoder)
    terms = {"prior": elbo.prior, "steps": elbo.steps.sum(1), "decoder": elbo.decoder}
    return {name: bits_per_dimension(nats, x0) for name, nats in terms.items()}, 1 + elbo.steps.shape[1]


def chain_levels(pipeline: Pipeline, config: LikelihoodConfig) -> Level:
    """The levels of the chain, without those whose noise is narrower than the bin of a pixel value, except sigma = 0.

    A network that was not trained with so little noise does not know the grid of pixel values, and each such level
    would make its bound worse.
    """
    steps = config.steps if config.method == "bound" else 1
    levels = sampling_levels(
        extended_to_sigma(pipeline.recipe.sampling_schedule, BIN_WIDTH), steps, pipeline.recipe.sampling.spacing
    )
    wide = (levels.edm_sigma >= BIN_WIDTH) | (levels.sigma == 0)
    return Level(levels.alpha[wide], levels.sigma[wide])


def level_at(ratio: float) -> Level:
    """The level of this sigma / alpha."""
    return Level(torch.ones((), dtype=torch.float64), torch.tensor(ratio, dtype=torch.float64))
