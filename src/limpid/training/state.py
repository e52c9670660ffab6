"""The state of a training run: everything that changes from step to step, to and from named tensors."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limpid.diffusion.denoiser import Denoiser
from limpid.diffusion.level_sampling import LossMoments
from limpid.diffusion.losses import UncertaintyWeighting, check_noisiest_loss
from limpid.optim.optimizers import Muon
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.runtime import distributed
from limpid.runtime.device import TrainingRuntime
from limpid.runtime.fsdp import broadcast_parameters, local_shard, shard
from limpid.runtime.grad_sync import GradientSync
from limpid.runtime.rng import default_generators_seeded, seed_for
from limpid.training.optimizer_state import optimizer_tensors, restore_optimizer


@dataclass
class TrainState:
    """Everything that changes during a run."""

    model: Denoiser
    ema: Denoiser
    optimizer: torch.optim.Optimizer
    grad_sync: GradientSync
    """Sums the gradients over all processes."""
    loss_moments: LossMoments
    """Second moments of the loss in bins of u, for a level sampler that uses them."""
    micro_batch_size: int
    """Images in one forward and backward pass: fewer than a batch where memory is short."""
    uncertainty: UncertaintyWeighting | None = None
    power_emas: list[nn.Module] = field(default_factory=list)
    """Power-function EMAs of the network, one for each relative length in the recipe's `ema_snapshots`."""
    images_seen: int = 0
    """Training images used so far."""
    data_position: int = 0
    """Position in the endless sequence of training images, skipped batches included."""
    skipped_batches: tuple[int, ...] = ()
    """Data positions of batches that the run skips, because the loss or a gradient was not finite there."""


def init_state(
    recipe: Recipe,
    shape: tuple[int, int, int],
    classes: int,
    runtime: TrainingRuntime,
    initial: Mapping[str, Tensor] | None = None,
) -> TrainState:
    """The state before the first step, for images of `shape` (channels, height, width).

    The network has the `initial` tensors if they are given, else random weights.

    Raises ValueError if the batch cannot be divided over the processes, or if the loss is not finite at some level.
    """
    local = distributed.local_slice(recipe.batch_size)
    check_noisiest_loss(recipe.loss_weighting, recipe.target, recipe.schedule, recipe.learned_variance)
    if runtime.fsdp:
        check_sharding(recipe)
    with default_generators_seeded(seed_for(recipe.seed, "weights")):
        model = build_denoiser(recipe, shape, classes)
        uncertainty = UncertaintyWeighting() if recipe.uncertainty_weighting else None
    if initial is not None:
        model.net.load_state_dict(initial)
    trained = [model.net, *([uncertainty] if uncertainty else [])]
    for module in trained:
        broadcast_parameters(module)
    ema = copy.deepcopy(model).requires_grad_(False).eval()
    power_emas = [copy.deepcopy(ema.net) for _ in recipe.ema_snapshots]
    for module in (*trained, ema.net, *power_emas):
        if runtime.fsdp:
            shard(module, runtime.device)
        else:
            runtime.to_device(module)
    optimizer = recipe.optimizer.build(weight for module in trained for weight in module.parameters())
    moments = torch.zeros(recipe.level_sampler.bins, device=runtime.device)
    micro_batch = min(runtime.micro_batch or recipe.batch_size, local.stop - local.start)
    state = TrainState(model, ema, optimizer, GradientSync(trained), moments, micro_batch, uncertainty, power_emas)
    if runtime.compile is True:
        model.net.compile()
    return state


def check_sharding(recipe: Recipe) -> None:
    """Raise ValueError for a run whose weights cannot be sharded."""
    if recipe.batch_size % distributed.world_size():  # all processes must reach each block equally often
        raise ValueError(
            f"--fsdp with batch {recipe.batch_size}: expected a multiple of {distributed.world_size()}, the processes"
        )
    if isinstance(recipe.optimizer, Muon):
        raise ValueError("--fsdp with Muon, which needs complete weight matrices: expected AdamW")


def state_dict(state: TrainState) -> dict[str, Tensor]:
    """Every tensor of the state by name, as `load_state_dict` takes them."""
    parts = {"model": state.model.net.state_dict(), "ema": state.ema.net.state_dict()}
    parts |= {f"power{i}": net.state_dict() for i, net in enumerate(state.power_emas)}
    parts["optimizer"] = optimizer_tensors(state.optimizer)
    parts["loss"] = {"moments": state.loss_moments}
    parts["uncertainty"] = state.uncertainty.state_dict() if state.uncertainty else {}
    return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}


def load_state_dict(state: TrainState, tensors: dict[str, Tensor]) -> None:
    """Copy the tensors that `state_dict` returned back into the state."""
    current = state_dict(state)

    def part(prefix: str) -> dict[str, Tensor]:
        names = [name for name in tensors if name.startswith(prefix)]
        return {
            name.removeprefix(prefix): local_shard(tensors[name], current.get(name, tensors[name])) for name in names
        }

    state.model.net.load_state_dict(part("model."))
    state.ema.net.load_state_dict(part("ema."))
    for i, net in enumerate(state.power_emas):
        net.load_state_dict(part(f"power{i}."))
    state.loss_moments.copy_(tensors["loss.moments"])
    if state.uncertainty:
        state.uncertainty.load_state_dict(part("uncertainty."))
    restore_optimizer(state.optimizer, part("optimizer."))
