"""Sharded weights for networks that do not fit on one device: FSDP2, and conversion to and from full tensors.

The weights of a block are gathered only while it computes. Checkpoints always hold full tensors.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import device_mesh

from limpid.runtime import distributed


def shard(module: nn.Module, device: str) -> None:
    """Shard every weight of a module over all processes, in place.

    The members of its ModuleLists are the blocks whose weights are gathered one after another.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    blocks = [block for blocks in reversed(lists) for block in blocks if any(True for _ in block.parameters())]
    for part in (*blocks, module):
        fully_shard(part, mesh=_process_mesh(torch.device(device).type))
        assert isinstance(part, FSDPModule)
        part.set_gradient_divide_factor(1.0)  # sums, not means
        part.set_force_sum_reduction_for_comms(True)


@cache
def _process_mesh(device_type: str) -> Any:
    """The device mesh of all processes."""
    return device_mesh.init_device_mesh(device_type, (distributed.world_size(),))


def is_sharded(value: nn.Module | Tensor) -> bool:
    """Whether each process holds only a shard of it."""
    return hasattr(value, "full_tensor" if isinstance(value, Tensor) else "set_requires_gradient_sync")


def full_tensor(value: Tensor) -> Tensor:
    """The full tensor; for a sharded one this is collective: all processes have to call it."""
    return value.full_tensor() if is_sharded(value) else value  # pyright: ignore[reportAttributeAccessIssue]


def gather_full(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The full tensors on the main process; collective, and the others get only those that are not sharded."""
    gathered = {}
    for name, value in tensors.items():
        full = full_tensor(value)
        if full is value:
            gathered[name] = value
        elif distributed.is_main_process():
            gathered[name] = full.cpu()
    return gathered


def local_shard(value: Tensor, like: Tensor) -> Tensor:
    """The shard of `value` for this process if `like` is sharded; otherwise `value` itself."""
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def broadcast_parameters(module: nn.Module) -> None:
    """Copy the main process's weights of a module to all: another type of processor may initialise other bits."""
    state = module.state_dict() if distributed.world_size() > 1 else {}
    for name, value in distributed.broadcast_tensors(lambda: state).items():
        state[name].copy_(value)


def find_desynced(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the unsharded tensors whose bits are not the same on all processes."""
    unsharded = {name: value for name, value in tensors.items() if not is_sharded(value)}
    if distributed.world_size() == 1 or not unsharded:
        return []
    highest = torch.stack([_as_integers(value).sum() for value in unsharded.values()])
    lowest = highest.clone()
    with distributed.peer_errors():
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
    return [name for name, differs in zip(unsharded, (highest != lowest).tolist(), strict=True) if differs]


def _as_integers(value: Tensor) -> Tensor:
    """The bytes of a tensor as integers, whose sum, unlike that of floats, does not depend on the order."""
    content = value.detach().cpu().contiguous().view(-1).view(torch.uint8)
    aligned = len(content) // 4 * 4
    return torch.cat([content[:aligned].view(torch.int32).long(), content[aligned:].long()])
