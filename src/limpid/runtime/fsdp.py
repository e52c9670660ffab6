"""Weights of which each process holds a part, for networks that do not fit: FSDP2, and the ways into it and out.

A block's weights are whole only while it computes. Outside of a run they are as ever: checkpoints hold all of each.
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
    """Leave to each process a part of every weight of a module, for good, on its device.

    The members of its lists are the blocks that are made whole one after another.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    blocks = [block for part in reversed(lists) for block in part if any(True for _ in block.parameters())]
    for part in (*blocks, module):
        fully_shard(part, mesh=_everyone(torch.device(device).type))
        assert isinstance(part, FSDPModule)
        part.set_gradient_divide_factor(1.0)  # sums, not means
        part.set_force_sum_reduction_for_comms(True)


@cache
def _everyone(kind: str) -> Any:
    """All processes, as FSDP wants to be told of them."""
    return device_mesh.init_device_mesh(kind, (distributed.world_size(),))


def is_sharded(value: nn.Module | Tensor) -> bool:
    """Whether each process holds but a part of it."""
    return hasattr(value, "full_tensor" if isinstance(value, Tensor) else "set_requires_gradient_sync")


def full_tensor(value: Tensor) -> Tensor:
    """All of a tensor; of one that is sharded all processes have to ask for it."""
    return value.full_tensor() if is_sharded(value) else value  # pyright: ignore[reportAttributeAccessIssue]


def gather_full(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of each tensor, for the first process; the others help, and get those alone that are not sharded."""
    held = {}
    for name, value in tensors.items():
        whole = full_tensor(value)
        if whole is value:
            held[name] = value
        elif distributed.is_main_process():
            held[name] = whole.cpu()
    return held


def local_shard(value: Tensor, like: Tensor) -> Tensor:
    """What this process holds of `value`, if `like` is sharded; else all of it."""
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def broadcast_parameters(module: nn.Module) -> None:
    """Give a module on all processes the weights of the first's: another processor may have drawn others."""
    state = module.state_dict() if distributed.world_size() > 1 else {}
    for name, value in distributed.broadcast_tensors(lambda: state).items():
        state[name].copy_(value)


def find_desynced(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those tensors that are whole on each process and whose bits are not the same on all."""
    whole = {name: value for name, value in tensors.items() if not is_sharded(value)}
    if distributed.world_size() == 1 or not whole:
        return []
    most = torch.stack([_numbers(value).sum() for value in whole.values()])
    least = most.clone()
    with distributed.peer_errors():
        dist.all_reduce(most, dist.ReduceOp.MAX)
        dist.all_reduce(least, dist.ReduceOp.MIN)
    return [name for name, differs in zip(whole, (most != least).tolist(), strict=True) if differs]


def _numbers(value: Tensor) -> Tensor:
    """The bytes of a tensor as whole numbers, whose sum knows no order."""
    content = value.detach().cpu().contiguous().view(-1).view(torch.uint8)
    fours = len(content) // 4 * 4
    return torch.cat([content[:fours].view(torch.int32).long(), content[fours:].long()])
