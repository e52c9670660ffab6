"""How likely a trained network finds pictures: bits per dimension, with the protocol written beside the number."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.data import Data, DataSource
from limpid.data.images import LabelledBatch as Pictures
from limpid.data.images import normalize
from limpid.diffusion import likelihood
from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.guidance import clip_x0
from limpid.diffusion.level import Level
from limpid.diffusion.likelihood import BIN_WIDTH, DEQUANTISED, bits_per_dimension
from limpid.diffusion.schedules import extended_to_sigma, sampling_levels
from limpid.metrics.extractors.base import in_float32
from limpid.runtime.device import Runtime
from limpid.runtime.rng import generator
from limpid.sampling.labels import check_class_names
from limpid.sampling.pipeline import Pipeline

MAX_EDM_SIGMA = 1e4
"""The highest sigma / alpha to begin from, for schedules that end in pure noise: nothing of a picture is left there."""


@dataclass(frozen=True)
class LikelihoodConfig:
    """How bits per dimension are measured."""

    n: int = 100
    """How many pictures, drawn from the set without repetition."""
    method: Literal["bound", "continuous", "ode"] = "bound"
    """The chain's bound (DDPM), its limit of infinitely many steps (VDM), or the probability-flow ODE's density."""
    steps: int = 1000
    """Steps of the chain whose bound it is."""
    num_levels: int = 20
    """Levels or steps evaluated for each picture, drawn at random for the two bounds; 0 is every step of the chain."""
    variance: Literal["small", "large"] = "small"
    """The variance of the chain's steps: the posterior's, beta~, or the forward step's, beta."""
    decoder: float = 1.0
    """The standard deviation of the decoder of pixels, in units of the noise of the last level."""
    tolerance: float = 1e-3
    """Error that the ODE's solver may make, relative and absolute."""
    split: Literal["train", "test"] = "test"
    """Which pictures, where the data set has a choice."""
    seed: int = 0
    """What the choice of pictures and all noise begin from."""
    batch_size: int = 50
    """Pictures at a time; noise is drawn by the batch, so that the number depends on this within its error."""


class BitsPerDim(NamedTuple):
    """Bits per dimension over pictures: their mean, its standard error, the mean of each term, and the protocol."""

    mean: float
    error: float
    terms: dict[str, float]
    """What the mean is made of: prior, steps and decoder of a bound."""
    evaluations: float
    """How often the network was asked, per picture."""
    protocol: LikelihoodConfig
    split: str
    conditional: bool
    """Whether the network was told the classes: it is then the likelihood of a picture given its class."""

    def __str__(self) -> str:
        p = self.protocol
        how = {
            "bound": f"bound of {p.steps} steps of {p.variance} variance, {p.num_levels or 'all'} drawn",
            "continuous": f"continuous-time bound, {p.num_levels} levels drawn",
            "ode": f"probability-flow ODE, tolerance {p.tolerance:g}, {self.evaluations:g} evaluations",
        }
        parts = ", ".join(f"{name} {value:.4f}" for name, value in self.terms.items())
        what = f"{p.n} pictures of the {self.split} set{', classes told' if self.conditional else ''}, seed {p.seed}"
        return f"{self.mean:.4f} +- {self.error:.4f} bits/dim{f' ({parts})' if parts else ''}: {how[p.method]}; {what}"


def bits_per_dim(pipeline: Pipeline, protocol: LikelihoodConfig) -> BitsPerDim:
    """Bits per dimension of pictures under a trained network, in float32, clipped as its sampling is but not guided.

    Raises ValueError for numbers that cannot be, for more pictures than there are, for other classes
    than the network was told, and without torchdiffeq for the ODE.
    """
    runtime = pipeline.runtime
    source, split = open_split(pipeline.recipe.data, protocol, runtime)
    if pipeline.class_names:
        check_class_names(pipeline.class_names, source.class_names, "this network")
    batches = source.batches(0, min(protocol.batch_size, protocol.n), protocol.seed)
    rows, asked = [], []
    for pictures, wanted in zip(batches, batch_sizes(protocol), strict=False):
        draw = generator(runtime.device, protocol.seed, "likelihood", len(asked))
        with in_float32(torch.device(runtime.device)):
            terms, evaluations = batch_nll(pipeline, protocol, (pictures[0][:wanted], pictures[1][:wanted]), draw)
        rows.append(terms)
        asked.append(evaluations)
    table = {name: torch.cat([row[name] for row in rows]).double().cpu() for name in rows[0]}
    whole = torch.stack(list(table.values())).sum(0)
    means = {name: values.mean().item() for name, values in table.items()} if len(table) > 1 else {}
    error = whole.std().item() / math.sqrt(protocol.n)
    mean_asked = sum(asked) / len(asked)
    return BitsPerDim(whole.mean().item(), error, means, mean_asked, protocol, split, bool(pipeline.class_names))


def open_split(data: Data, protocol: LikelihoodConfig, runtime: Runtime) -> tuple[DataSource, str]:
    """The pictures to measure with, and what to call them. Raises ValueError for numbers that cannot be."""
    data, split = data_of(data, protocol.split)
    source = data.open(runtime.device)
    if not 2 <= protocol.n <= len(source) or min(protocol.batch_size, protocol.steps) < 1 or protocol.num_levels < 0:
        given = f"n {protocol.n}, batch {protocol.batch_size}, steps {protocol.steps}, draws {protocol.num_levels}"
        raise ValueError(f"{given}: expected 2 to {len(source)} pictures, and at least 1, 1 and 0 of the others")
    return source, split


def data_of(data: Data, split: Literal["train", "test"]) -> tuple[Data, str]:
    """The split of a data set that has splits, else all of it; and what to call it."""
    if "split" not in {spec.name for spec in fields(data)}:
        return data, "whole training"
    return replace(data, split=split), split


def batch_sizes(protocol: LikelihoodConfig) -> Iterator[int]:
    """How many pictures of each batch count: all of them, but in the last."""
    return (min(protocol.batch_size, protocol.n - first) for first in range(0, protocol.n, protocol.batch_size))


def batch_nll(
    pipeline: Pipeline, protocol: LikelihoodConfig, pictures: Pictures, draw: torch.Generator
) -> tuple[dict[str, Float[Tensor, " b"]], float]:
    """The terms of a batch in bits per dimension, and how often the network was asked."""
    pixels, labels = pictures
    x0 = normalize(pixels).contiguous(memory_format=torch.channels_last)
    denoise: Denoise = partial(pipeline.model, labels=labels if pipeline.class_names else None)
    denoise = clip_x0(denoise) if pipeline.recipe.sampling.clip_denoised else denoise
    levels = chain_levels(pipeline, protocol)
    top, draws = levels[0], protocol.num_levels
    noisy = Level(torch.ones_like(top.edm_sigma), top.edm_sigma.clamp(max=MAX_EDM_SIGMA))
    if protocol.method == "ode":
        clean = level_at(DEQUANTISED)
        nats, asked = likelihood.ode_likelihood(denoise, x0, noisy, clean, draw, protocol.tolerance)
        return {"nats": bits_per_dimension(nats, x0)}, asked
    if protocol.method == "bound":
        bound = likelihood.discrete_elbo(denoise, x0, levels, draw, draws, protocol.variance, protocol.decoder)
    else:
        bound = likelihood.continuous_elbo(
            denoise, x0, noisy, level_at(BIN_WIDTH), draw, max(draws, 1), protocol.decoder
        )
    terms = {"prior": bound.prior, "steps": bound.steps.sum(1), "decoder": bound.decoder}
    return {name: bits_per_dimension(nats, x0) for name, nats in terms.items()}, 1 + bound.steps.shape[1]


def chain_levels(pipeline: Pipeline, protocol: LikelihoodConfig) -> Level:
    """The levels of the chain, without those that have less noise than a bin is wide: there the pixels are read off.

    A network that never saw so little noise knows nothing of the grid that pixels lie on, and would pay for each.
    """
    steps = protocol.steps if protocol.method == "bound" else 1
    levels = sampling_levels(
        extended_to_sigma(pipeline.recipe.sampling_schedule, BIN_WIDTH), steps, pipeline.recipe.sampling.spacing
    )
    kept = (levels.edm_sigma >= BIN_WIDTH) | (levels.sigma == 0)
    return Level(levels.alpha[kept], levels.sigma[kept])


def level_at(ratio: float) -> Level:
    """The level of this sigma / alpha."""
    return Level(torch.ones((), dtype=torch.float64), torch.tensor(ratio, dtype=torch.float64))
