"""Training, from pictures to weights, read straight down: data, noise, network, loss, optimiser, average.

Every draw comes from its address (seed, purpose, images seen so far), so a run that was stopped and resumed is the run
that never stopped.
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from limpid.data import DataSource
from limpid.data.images import normalize
from limpid.diffusion.denoiser import Denoiser, Labels
from limpid.diffusion.learned_variance import posterior_bounds
from limpid.diffusion.level import Batch, Level, PerSample, UnitInterval
from limpid.diffusion.level_sampling import LossMoments, importance_sample, update_moments
from limpid.diffusion.losses import UncertaintyWeighting, check_noisiest_loss, denoising_loss
from limpid.diffusion.schedules import stratified
from limpid.nets.kernels.dropout_cpu import dropout_from
from limpid.optim.ema import PowerFunctionEma, update
from limpid.optim.optimizers import Muon, lr_at
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.fsdp import broadcast_parameters, full_tensor, local_shard, shard
from limpid.runtime.grad_sync import GradientSync
from limpid.runtime.oom import find_executable_batch_size
from limpid.runtime.randn import randn
from limpid.runtime.rng import default_generators_seeded, generator, seed_for
from limpid.training.optimizer_state import optimizer_tensors, restore_optimizer


@dataclass
class TrainState:
    """All that changes while a run goes on."""

    model: Denoiser
    ema: Denoiser
    optimizer: torch.optim.Optimizer
    grad_sync: GradientSync
    """Those of all processes together."""
    loss_moments: LossMoments
    """The second moments of the loss along the schedule."""
    micro_batch_size: int
    """Pictures that the network is shown at a time: fewer than a batch where memory is short."""
    uncertainty: UncertaintyWeighting | None = None
    power_emas: list[nn.Module] = field(default_factory=list)
    """Power-function averages of the network, one for each length in the recipe's `snapshots`."""
    images_seen: int = 0
    """Images shown to the network so far."""
    data_position: int = 0
    """Where the run stands in its endless row of pictures: the images seen, and those of the batches left out."""
    skipped_batches: tuple[int, ...] = ()
    """The places of batches that the run passes over, since numbers went wrong there."""


class NoisyBatch(NamedTuple):
    """A batch with all that is drawn for it, one of each for each picture."""

    x0: Batch
    eps: Batch
    u: UnitInterval
    level: Level
    importance_weight: PerSample
    """What a loss is multiplied by to make up for how often its level is drawn."""
    labels: Labels | None

    def slice(self, of: slice) -> "NoisyBatch":
        """The lesson of some of the pictures."""
        labels = None if self.labels is None else self.labels[of]
        return NoisyBatch(self.x0[of], self.eps[of], self.u[of], self.level[of], self.importance_weight[of], labels)


class StepMetrics(NamedTuple):
    """What one step tells: tensors stay on the device until somebody reads them."""

    images_seen: int
    data_position: int
    """Where the batch begins in the run's row of pictures."""
    loss: PerSample
    """Of each picture, times its rarity."""
    importance_weight: PerSample
    logsnr: PerSample
    grad_norm: Float[Tensor, ""]
    lr: float


def init_state(recipe: Recipe, shape: tuple[int, int, int], classes: int, runtime: Runtime) -> TrainState:
    """A run at its beginning, for pictures of `shape` (channels, height, width).

    Raises ValueError if it cannot be shared by as many processes as there are, or if its loss has no value somewhere.
    """
    own = distributed.local_slice(recipe.batch_size)
    check_noisiest_loss(recipe.loss_weighting, recipe.target, recipe.schedule, recipe.learned_variance)
    if runtime.fsdp:
        check_sharding(recipe)
    with default_generators_seeded(seed_for(recipe.seed, "weights")):
        model, uncertainty = (
            build_denoiser(recipe, shape, classes),
            UncertaintyWeighting() if recipe.uncertainty_weighting else None,
        )
    learners = [model.net, *([uncertainty] if uncertainty else [])]
    for learner in learners:
        broadcast_parameters(learner)
    average = copy.deepcopy(model).requires_grad_(False).eval()
    powers = [copy.deepcopy(average.net) for _ in recipe.ema_snapshots]
    for module in (*learners, average.net, *powers):
        if runtime.fsdp:
            shard(module, runtime.device)
        else:
            runtime.to_device(module)
    built = recipe.optimizer.build(weight for learner in learners for weight in learner.parameters())
    moments = torch.zeros(recipe.level_sampler.bins, device=runtime.device)
    at_once = min(runtime.micro_batch or recipe.batch_size, own.stop - own.start)
    state = TrainState(model, average, built, GradientSync(learners), moments, at_once, uncertainty, powers)
    if runtime.compile is True:
        model.net.compile()
    return state


def check_sharding(recipe: Recipe) -> None:
    """Raise ValueError for a run whose weights cannot be sharded."""
    if recipe.batch_size % distributed.world_size():  # all must meet at every block, equally often
        raise ValueError(
            f"--fsdp with batch {recipe.batch_size}: expected a multiple of {distributed.world_size()}, the processes"
        )
    if isinstance(recipe.optimizer, Muon):
        raise ValueError("--fsdp with Muon, which needs all of a matrix at once: expected Adam")


def train(state: TrainState, recipe: Recipe, source: DataSource, runtime: Runtime) -> Iterator[StepMetrics]:
    """Train until the recipe's number of images, yielding after each step."""
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
    """One step on a batch of pixels: data, noise, network, loss, optimiser, averages."""
    place, noisy = state.data_position, make_noisy_batch(state, recipe, pixels, labels)
    loss = forward_backward(state, recipe, noisy, runtime)
    update_moments(state.loss_moments, noisy.u, loss)
    state.images_seen, state.data_position = state.images_seen + len(pixels), place + len(pixels)
    gradient, rate = optimizer_step(state, recipe)
    update_emas(state, recipe, len(pixels))
    return StepMetrics(
        state.images_seen,
        place,
        loss * noisy.importance_weight,
        noisy.importance_weight,
        noisy.level.logsnr,
        gradient,
        rate,
    )


def make_noisy_batch(state: TrainState, recipe: Recipe, pixels: UInt8[Tensor, "b c h w"], labels: Labels) -> NoisyBatch:
    """The pictures as the network is to meet them, with noise of a level of its own for each."""

    def draws(purpose: str) -> torch.Generator:
        return generator(pixels.device, recipe.seed, purpose, state.data_position)

    x0 = normalize(recipe.augment(pixels, draws("augment"))).contiguous(memory_format=torch.channels_last)
    u, rarity = importance_sample(
        stratified(len(x0), draws("levels")), recipe.level_sampler.density(state.loss_moments)
    )
    eps = randn(x0.shape, x0.device, recipe.seed, "noise", state.data_position)
    told = drop_labels(labels, recipe, state, draws("labels")) if recipe.class_conditional else None
    return NoisyBatch(x0, eps, u, recipe.schedule(u), rarity.float(), told)


def forward_backward(state: TrainState, recipe: Recipe, noisy: NoisyBatch, runtime: Runtime) -> PerSample:
    """The loss of each picture; its gradients are gathered, in parts if memory is too small for the batch.

    Of several processes each studies its share of the pictures, and has the losses and gradients of all in the end.
    """
    batch, share = len(noisy.x0), distributed.local_slice(len(noisy.x0))
    own = noisy.slice(share)

    def study(at_once: int) -> PerSample:
        state.optimizer.zero_grad()
        losses = []
        with dropout_seeded(seed_for(recipe.seed, "dropout", state.data_position + share.start), runtime):
            for i in range(0, len(own.x0), at_once):
                part = own.slice(slice(i, i + at_once))
                state.grad_sync.begin_micro_batch(at_once, last=i + at_once >= len(own.x0))
                losses.append(loss_and_backward(state, recipe, part, len(part.x0) / batch, runtime))
        return torch.cat(losses)

    loss, state.micro_batch_size = find_executable_batch_size(study, state.micro_batch_size, state.grad_sync.can_retry)
    return state.grad_sync.all_reduce(loss, share, batch)


def dropout_seeded(seed: int, runtime: Runtime) -> AbstractContextManager[None]:
    """Dropout draws from this seed in here. On a CPU torch's default generator, the caller's, is not touched for it;
    where only that one can be drawn from, it is put back afterwards.
    """
    if runtime.device == "cpu" and runtime.compile is not True:
        return dropout_from(torch.Generator().manual_seed(seed))
    return default_generators_seeded(seed, runtime.device)


def loss_and_backward(
    state: TrainState, recipe: Recipe, part: NoisyBatch, batch_fraction: float, runtime: Runtime
) -> PerSample:
    """The loss of each picture of a part of the batch; its gradients are added to those of the other parts."""
    step = posterior_bounds(recipe.schedule, part.u) if recipe.learned_variance else None
    with runtime.autocast():
        loss = denoising_loss(
            state.model, part.x0, part.eps, part.level, part.labels, recipe.loss_weighting, step, recipe.loss
        )
    objective = state.uncertainty.weighted_loss(loss, part.level) if state.uncertainty else loss
    (batch_fraction * (objective * part.importance_weight).mean()).backward()
    return loss.detach()


def optimizer_step(state: TrainState, recipe: Recipe) -> tuple[Float[Tensor, ""], float]:
    """A step of the optimiser down the gradients there are; their norm, and the rate of the step."""
    gradient = full_tensor(torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.optimizer.max_grad_norm))
    rate = lr_at(recipe.optimizer, state.images_seen, recipe.duration)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    state.optimizer.zero_grad()
    return gradient, rate


def update_emas(state: TrainState, recipe: Recipe, batch: int) -> None:
    """Move every average of the weights towards those of now."""
    averages = [(recipe.ema, state.ema.net)]
    averages += [(PowerFunctionEma(std), net) for std, net in zip(recipe.ema_snapshots, state.power_emas, strict=True)]
    for kind, net in averages:
        update(net.parameters(), state.model.net.parameters(), kind.decay(state.images_seen, batch))


def drop_labels(labels: Labels, recipe: Recipe, state: TrainState, draw: torch.Generator) -> Labels:
    """The labels with a share of them replaced by the one that stands for no label, the last."""
    drop = torch.rand(len(labels), generator=draw, device=labels.device) < recipe.label_dropout
    return labels.masked_fill(drop, state.model.null_label)


def state_dict(state: TrainState) -> dict[str, Tensor]:
    """Every tensor of a state by name, as `restore` takes them back."""
    parts = {"model": state.model.net.state_dict(), "ema": state.ema.net.state_dict()}
    parts |= {f"power{i}": net.state_dict() for i, net in enumerate(state.power_emas)}
    parts["optimizer"] = optimizer_tensors(state.optimizer)
    parts["loss"] = {"moments": state.loss_moments}
    parts["uncertainty"] = state.uncertainty.state_dict() if state.uncertainty else {}
    return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}


def load_state_dict(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Put the tensors of a state back to where they were when `tensors_of` read it."""
    here = state_dict(state)

    def part(prefix: str) -> dict[str, Tensor]:
        chosen = [name for name in tensors if name.startswith(prefix)]
        return {name.removeprefix(prefix): local_shard(tensors[name], here.get(name, tensors[name])) for name in chosen}

    state.model.net.load_state_dict(part("model."))
    state.ema.net.load_state_dict(part("ema."))
    for i, net in enumerate(state.power_emas):
        net.load_state_dict(part(f"power{i}."))
    state.loss_moments.copy_(tensors["loss.moments"])
    if state.uncertainty:
        state.uncertainty.load_state_dict(part("uncertainty."))
    restore_optimizer(state.optimizer, part("optimizer."))
