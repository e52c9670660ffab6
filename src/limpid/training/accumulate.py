"""The gradient of a batch, accumulated over micro-batches and summed over processes.

One process takes its slice of the batch, in micro-batches that are halved when memory runs out. The sums are those of
one pass over the complete batch, up to rounding.
"""

from contextlib import AbstractContextManager
from typing import NamedTuple

import torch

from limpid.diffusion.denoiser import Labels
from limpid.diffusion.learned_variance import posterior_bounds
from limpid.diffusion.level import Batch, Level, PerSample, UnitInterval
from limpid.diffusion.losses import denoising_loss
from limpid.nets.kernels.dropout_cpu import dropout_from
from limpid.recipes.recipe import Recipe
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.oom import find_executable_batch_size
from limpid.runtime.rng import default_generators_seeded, seed_for
from limpid.training.state import TrainState


class NoisyBatch(NamedTuple):
    """A batch of images with its random noise and noise levels, one entry per image."""

    x0: Batch
    eps: Batch
    u: UnitInterval
    level: Level
    importance_weight: PerSample
    """1 / p(u), which keeps the mean loss unbiased when levels are not sampled uniformly."""
    labels: Labels | None

    def slice(self, part: slice) -> "NoisyBatch":
        """Some images of the batch."""
        return NoisyBatch(
            self.x0[part],
            self.eps[part],
            self.u[part],
            self.level[part],
            self.importance_weight[part],
            None if self.labels is None else self.labels[part],
        )


def forward_backward(state: TrainState, recipe: Recipe, noisy: NoisyBatch, runtime: Runtime) -> PerSample:
    """The loss of each image, with the gradients of the mean objective accumulated in the weights.

    With several processes each computes its slice of the batch; all return the losses, and hold the gradients, of the
    complete batch.
    """
    batch_size, local = len(noisy.x0), distributed.local_slice(len(noisy.x0))
    own = noisy.slice(local)

    def accumulate(micro_batch_size: int) -> PerSample:
        state.optimizer.zero_grad()
        losses = []
        with dropout_seeded(seed_for(recipe.seed, "dropout", state.data_position + local.start), runtime):
            for i in range(0, len(own.x0), micro_batch_size):
                part = own.slice(slice(i, i + micro_batch_size))
                state.grad_sync.begin_micro_batch(micro_batch_size, last=i + micro_batch_size >= len(own.x0))
                losses.append(loss_and_backward(state, recipe, part, len(part.x0) / batch_size, runtime))
        return torch.cat(losses)

    loss, state.micro_batch_size = find_executable_batch_size(
        accumulate, state.micro_batch_size, state.grad_sync.can_retry
    )
    return state.grad_sync.all_reduce(loss, local, batch_size)


def loss_and_backward(
    state: TrainState, recipe: Recipe, part: NoisyBatch, batch_fraction: float, runtime: Runtime
) -> PerSample:
    """The loss of each image of a micro-batch, which is `batch_fraction` of the batch; its gradients are added."""
    bounds = posterior_bounds(recipe.schedule, part.u) if recipe.learned_variance else None
    with runtime.autocast():
        loss = denoising_loss(
            state.model, part.x0, part.eps, part.level, part.labels, recipe.loss_weighting, bounds, recipe.loss
        )
    objective = state.uncertainty.weighted_loss(loss, part.level) if state.uncertainty else loss
    (batch_fraction * (objective * part.importance_weight).mean()).backward()
    return loss.detach()


def dropout_seeded(seed: int, runtime: Runtime) -> AbstractContextManager[None]:
    """A context in which dropout has this seed. On a CPU it has a generator of its own; elsewhere it can only use
    torch's default generator, whose state is restored afterwards.
    """
    if runtime.device == "cpu" and runtime.compile is not True:
        return dropout_from(torch.Generator().manual_seed(seed))
    return default_generators_seeded(seed, runtime.device)
