"""Training in one screen. READ THIS FIRST: data, noise, network and loss, gradient, learning rate, optimizer, EMA.

Every random number comes from a generator seeded with its address (seed, purpose, position in the data), so a run that
was stopped and resumed gives the same bits as one that never stopped.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from limpid.data import DataSource
from limpid.data.images import normalize
from limpid.diffusion.denoiser import Labels
from limpid.diffusion.level import PerSample
from limpid.diffusion.level_sampling import importance_sample, update_moments
from limpid.diffusion.schedules import stratified
from limpid.optim.ema import PowerFunctionEma, update_ema
from limpid.optim.optimizers import lr_at
from limpid.recipes.recipe import Recipe
from limpid.runtime.device import Runtime
from limpid.runtime.fsdp import full_tensor
from limpid.runtime.randn import randn
from limpid.runtime.rng import generator
from limpid.training.accumulate import NoisyBatch, forward_backward
from limpid.training.state import TrainState


class StepMetrics(NamedTuple):
    """The metrics of one step. Tensors stay on the device: reading one waits for it."""

    images_seen: int
    data_position: int
    """Where the batch begins in the sequence of training images."""
    loss: PerSample
    """Of each image, times its importance weight."""
    importance_weight: PerSample
    logsnr: PerSample
    grad_norm: Float[Tensor, ""]
    """Before clipping."""
    lr: float


def training_loop(state: TrainState, recipe: Recipe, source: DataSource, runtime: Runtime) -> Iterator[StepMetrics]:
    """Train until the recipe's number of images has been used, yielding the metrics of each step."""
    batches = source.batches(state.data_position, recipe.batch_size, recipe.seed)
    while state.images_seen < recipe.duration:
        pixels, labels = next(batches)
        if state.data_position in state.skipped_batches:
            state.data_position += len(pixels)
        else:
            yield train_step(state, recipe, pixels, labels, runtime)


def train_step(
    state: TrainState, recipe: Recipe, pixels: UInt8[Tensor, "b c h w"], labels: Labels, runtime: Runtime
) -> StepMetrics:
    """One step of training on a batch."""
    position, batch_size = state.data_position, len(pixels)

    noisy = make_noisy_batch(state, recipe, pixels, labels)
    loss = forward_backward(state, recipe, noisy, runtime)  # micro-batches and processes: see accumulate.py
    update_moments(state.loss_moments, noisy.u, loss)
    state.images_seen, state.data_position = state.images_seen + batch_size, position + batch_size

    grad_norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.optimizer.max_grad_norm)
    lr = lr_at(recipe.optimizer, state.images_seen, recipe.duration)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.optimizer.step()
    state.optimizer.zero_grad()

    update_emas(state, recipe, batch_size)
    return StepMetrics(
        images_seen=state.images_seen,
        data_position=position,
        loss=loss * noisy.importance_weight,
        importance_weight=noisy.importance_weight,
        logsnr=noisy.level.logsnr,
        grad_norm=full_tensor(grad_norm),
        lr=lr,
    )


def make_noisy_batch(state: TrainState, recipe: Recipe, pixels: UInt8[Tensor, "b c h w"], labels: Labels) -> NoisyBatch:
    """A batch of augmented images, each with noise and a noise level of its own: x = alpha x0 + sigma eps."""

    def generator_for(purpose: str) -> torch.Generator:
        return generator(pixels.device, recipe.seed, purpose, state.data_position)

    x0 = normalize(recipe.augment(pixels, generator_for("augment"))).contiguous(memory_format=torch.channels_last)
    density = recipe.level_sampler.density(state.loss_moments)
    u, importance_weight = importance_sample(stratified(len(x0), generator_for("levels")), density)
    eps = randn(x0.shape, x0.device, recipe.seed, "noise", state.data_position)
    condition = drop_labels(labels, recipe, state, generator_for("labels")) if recipe.class_conditional else None
    return NoisyBatch(x0, eps, u, recipe.schedule(u), importance_weight.float(), condition)


def drop_labels(labels: Labels, recipe: Recipe, state: TrainState, generator: torch.Generator) -> Labels:
    """The labels, a random fraction of them replaced by the null label, for classifier-free guidance."""
    dropped = torch.rand(len(labels), generator=generator, device=labels.device) < recipe.label_dropout
    return labels.masked_fill(dropped, state.model.null_label)


def update_emas(state: TrainState, recipe: Recipe, batch_size: int) -> None:
    """Move every EMA of the weights towards the current weights."""
    emas = [(recipe.ema, state.ema.net)]
    emas += [(PowerFunctionEma(std), net) for std, net in zip(recipe.ema_snapshots, state.power_emas, strict=True)]
    for kind, net in emas:
        update_ema(net.parameters(), state.model.net.parameters(), kind.decay(state.images_seen, batch_size))
