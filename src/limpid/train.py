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

from limpid.data import Source
from limpid.data.images import from_pixels
from limpid.diffusion.denoiser import Denoiser, Labels
from limpid.diffusion.emphasis import Moments, dwelt, remember
from limpid.diffusion.level import Batch, Level, PerSample
from limpid.diffusion.losses import Uncertainty, check_noisiest_loss, denoising_loss
from limpid.diffusion.schedules import Unit, stratified
from limpid.diffusion.variance import chain
from limpid.learning import parallel
from limpid.learning.average import PowerEma, update
from limpid.learning.checkpoint import optimizer_tensors, restore_optimizer
from limpid.learning.gradients import Gradients
from limpid.learning.machine import Machine
from limpid.learning.memory import halving
from limpid.learning.noise import normal
from limpid.learning.optim import Muon, lr_at
from limpid.learning.rng import address, default_generators_seeded, generator
from limpid.learning.sharding import equal, full, part_of, shard
from limpid.nets.blocks import dropout_from
from limpid.recipe import Recipe, build


@dataclass
class State:
    """All that changes while a run goes on."""

    model: Denoiser
    average: Denoiser
    optimizer: torch.optim.Optimizer
    gradients: Gradients
    """Those of all processes together."""
    moments: Moments
    """The second moments of the loss along the schedule."""
    at_once: int
    """Pictures that the network is shown at a time: fewer than a batch where memory is short."""
    uncertainty: Uncertainty | None = None
    powers: list[nn.Module] = field(default_factory=list)
    """Power-function averages of the network, one for each length in the recipe's `snapshots`."""
    seen: int = 0
    """Images shown to the network so far."""
    place: int = 0
    """Where the run stands in its endless row of pictures: the images seen, and those of the batches left out."""
    left_out: tuple[int, ...] = ()
    """The places of batches that the run passes over, since numbers went wrong there."""


class Lesson(NamedTuple):
    """A batch with all that is drawn for it, one of each for each picture."""

    x0: Batch
    eps: Batch
    u: Unit
    level: Level
    rarity: PerSample
    """What a loss is multiplied by to make up for how often its level is drawn."""
    labels: Labels | None

    def part(self, of: slice) -> "Lesson":
        """The lesson of some of the pictures."""
        labels = None if self.labels is None else self.labels[of]
        return Lesson(self.x0[of], self.eps[of], self.u[of], self.level[of], self.rarity[of], labels)


class Report(NamedTuple):
    """What one step tells: tensors stay on the device until somebody reads them."""

    seen: int
    place: int
    """Where the batch begins in the run's row of pictures."""
    loss: PerSample
    """Of each picture, times its rarity."""
    rarity: PerSample
    logsnr: PerSample
    gradient: Float[Tensor, ""]
    rate: float


def start(recipe: Recipe, shape: tuple[int, int, int], classes: int, machine: Machine) -> State:
    """A run at its beginning, for pictures of `shape` (channels, height, width).

    Raises ValueError if it cannot be shared by as many processes as there are, or if its loss has no value somewhere.
    """
    own = parallel.share(recipe.batch)
    check_noisiest_loss(recipe.weight, recipe.target, recipe.schedule, recipe.learned_variance)
    if machine.shard:
        check_sharding(recipe)
    with default_generators_seeded(address(recipe.seed, "weights")):
        model, uncertainty = build(recipe, shape, classes), Uncertainty() if recipe.uncertainty else None
    learners = [model.net, *([uncertainty] if uncertainty else [])]
    for learner in learners:
        equal(learner)
    average = copy.deepcopy(model).requires_grad_(False).eval()
    powers = [copy.deepcopy(average.net) for _ in recipe.snapshots]
    for module in (*learners, average.net, *powers):
        if machine.shard:
            shard(module, machine.device)
        else:
            machine.place(module)
    built = recipe.optimizer.build(weight for learner in learners for weight in learner.parameters())
    moments = torch.zeros(recipe.emphasis.bins, device=machine.device)
    at_once = min(machine.micro_batch or recipe.batch, own.stop - own.start)
    state = State(model, average, built, Gradients(learners), moments, at_once, uncertainty, powers)
    if machine.compile is True:
        model.net.compile()
    return state


def check_sharding(recipe: Recipe) -> None:
    """Raise ValueError for a run whose weights cannot be sharded."""
    if recipe.batch % parallel.count():  # all must meet at every block, equally often
        raise ValueError(f"--shard with batch {recipe.batch}: expected a multiple of {parallel.count()}, the processes")
    if isinstance(recipe.optimizer, Muon):
        raise ValueError("--shard with Muon, which needs all of a matrix at once: expected Adam")


def train(state: State, recipe: Recipe, source: Source, machine: Machine) -> Iterator[Report]:
    """Train until the recipe's number of images, yielding after each step."""
    batches = source.batches(state.place, recipe.batch, recipe.seed)
    while state.seen < recipe.images:
        pixels, labels = next(batches)
        if state.place in state.left_out:
            state.place += len(pixels)
        else:
            yield train_step(state, recipe, pixels, labels, machine)


def train_step(
    state: State, recipe: Recipe, pixels: UInt8[Tensor, "b c h w"], labels: Labels, machine: Machine
) -> Report:
    """One step on a batch of pixels: data, noise, network, loss, optimiser, averages."""
    place, lesson = state.place, prepared(state, recipe, pixels, labels)
    loss = studied(state, recipe, lesson, machine)
    remember(state.moments, lesson.u, loss)
    state.seen, state.place = state.seen + len(pixels), place + len(pixels)
    gradient, rate = descend(state, recipe)
    follow(state, recipe, len(pixels))
    return Report(state.seen, place, loss * lesson.rarity, lesson.rarity, lesson.level.logsnr, gradient, rate)


def prepared(state: State, recipe: Recipe, pixels: UInt8[Tensor, "b c h w"], labels: Labels) -> Lesson:
    """The pictures as the network is to meet them, with noise of a level of its own for each."""

    def draws(purpose: str) -> torch.Generator:
        return generator(pixels.device, recipe.seed, purpose, state.place)

    x0 = from_pixels(recipe.augment(pixels, draws("augment"))).contiguous(memory_format=torch.channels_last)
    u, rarity = dwelt(stratified(len(x0), draws("levels")), recipe.emphasis.density(state.moments))
    eps = normal(x0.shape, x0.device, recipe.seed, "noise", state.place)
    told = withheld(labels, recipe, state, draws("labels")) if recipe.conditional else None
    return Lesson(x0, eps, u, recipe.schedule(u), rarity.float(), told)


def studied(state: State, recipe: Recipe, lesson: Lesson, machine: Machine) -> PerSample:
    """The loss of each picture; its gradients are gathered, in parts if memory is too small for the batch.

    Of several processes each studies its share of the pictures, and has the losses and gradients of all in the end.
    """
    batch, share = len(lesson.x0), parallel.share(len(lesson.x0))
    own = lesson.part(share)

    def study(at_once: int) -> PerSample:
        state.optimizer.zero_grad()
        losses = []
        with dropout_seeded(address(recipe.seed, "dropout", state.place + share.start), machine):
            for i in range(0, len(own.x0), at_once):
                part = own.part(slice(i, i + at_once))
                state.gradients.expect(at_once, last=i + at_once >= len(own.x0))
                losses.append(backward(state, recipe, part, len(part.x0) / batch, machine))
        return torch.cat(losses)

    loss, state.at_once = halving(study, state.at_once, state.gradients.untouched)
    return state.gradients.summed(loss, share, batch)


def dropout_seeded(seed: int, machine: Machine) -> AbstractContextManager[None]:
    """Dropout draws from this seed in here. On a CPU torch's default generator, the caller's, is not touched for it;
    where only that one can be drawn from, it is put back afterwards.
    """
    if machine.device == "cpu" and machine.compile is not True:
        return dropout_from(torch.Generator().manual_seed(seed))
    return default_generators_seeded(seed, machine.device)


def backward(state: State, recipe: Recipe, part: Lesson, share: float, machine: Machine) -> PerSample:
    """The loss of each picture of a part of the batch; its gradients are added to those of the other parts."""
    step = chain(recipe.schedule, part.u) if recipe.learned_variance else None
    with machine.autocast():
        loss = denoising_loss(state.model, part.x0, part.eps, part.level, part.labels, recipe.weight, step)
    objective = state.uncertainty.objective(loss, part.level) if state.uncertainty else loss
    (share * (objective * part.rarity).mean()).backward()
    return loss.detach()


def descend(state: State, recipe: Recipe) -> tuple[Float[Tensor, ""], float]:
    """A step of the optimiser down the gradients there are; their norm, and the rate of the step."""
    gradient = full(torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.optimizer.clip))
    rate = lr_at(recipe.optimizer, state.seen, recipe.images)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    state.optimizer.zero_grad()
    return gradient, rate


def follow(state: State, recipe: Recipe, batch: int) -> None:
    """Move every average of the weights towards those of now."""
    averages = [(recipe.average, state.average.net)]
    averages += [(PowerEma(std), net) for std, net in zip(recipe.snapshots, state.powers, strict=True)]
    for kind, net in averages:
        update(net.parameters(), state.model.net.parameters(), kind.decay(state.seen, batch))


def withheld(labels: Labels, recipe: Recipe, state: State, draw: torch.Generator) -> Labels:
    """The labels with a share of them replaced by the one that stands for no label, the last."""
    drop = torch.rand(len(labels), generator=draw, device=labels.device) < recipe.label_dropout
    return labels.masked_fill(drop, state.model.no_label)


def tensors_of(state: State) -> dict[str, Tensor]:
    """Every tensor of a state by name, as `restore` takes them back."""
    parts = {"model": state.model.net.state_dict(), "average": state.average.net.state_dict()}
    parts |= {f"power{i}": net.state_dict() for i, net in enumerate(state.powers)}
    parts["optimizer"] = optimizer_tensors(state.optimizer)
    parts["loss"] = {"moments": state.moments}
    parts["uncertainty"] = state.uncertainty.state_dict() if state.uncertainty else {}
    return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}


def restore(state: State, tensors: dict[str, Tensor]) -> None:
    """Put the tensors of a state back to where they were when `tensors_of` read it."""
    here = tensors_of(state)

    def part(prefix: str) -> dict[str, Tensor]:
        chosen = [name for name in tensors if name.startswith(prefix)]
        return {name.removeprefix(prefix): part_of(tensors[name], here.get(name, tensors[name])) for name in chosen}

    state.model.net.load_state_dict(part("model."))
    state.average.net.load_state_dict(part("average."))
    for i, net in enumerate(state.powers):
        net.load_state_dict(part(f"power{i}."))
    state.moments.copy_(tensors["loss.moments"])
    if state.uncertainty:
        state.uncertainty.load_state_dict(part("uncertainty."))
    restore_optimizer(state.optimizer, part("optimizer."))
