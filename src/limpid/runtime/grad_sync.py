"""The sum of the gradients of many processes, on its way while they are computed.

What torch's DistributedDataParallel does, but for two promises. A run that goes on is the run that never stopped, so
buckets are the same from the first step on: it regroups them after its first, and where three add up, another grouping
is another order. And a process that runs out of memory begins its step anew alone: the first step in parts of some
size sends nothing before all of it has come through. That shows the order in which gradients come, for the buckets.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from limpid.runtime import distributed
from limpid.runtime.fsdp import is_sharded

BUCKET = 2**22
"""Numbers that are summed at a time: 16 MB, on their way while the gradients of the next are computed."""


class Bucket:
    """Weights whose gradients are to lie one after another in `room`, and are summed at once."""

    def __init__(self, weights: Sequence[Tensor], room: Float[Tensor, " n"]):
        self.weights, self.room = weights, room
        parts = room.split([weight.numel() for weight in weights])
        # Each laid out as its weight: nothing is put in another order when it is copied there.
        self.places = [
            part.as_strided(weight.shape, weight.stride()) for weight, part in zip(weights, parts, strict=True)
        ]

    def begin(self) -> dist.Work:
        """Begin to sum the gradients over all processes; from now on they lie here."""
        for weight, place in zip(self.weights, self.places, strict=True):
            if weight.grad is None:
                place.zero_()
            else:
                weight.grad = place.copy_(weight.grad)
        with distributed.peer_errors():
            work = dist.all_reduce(self.room, async_op=True)
        assert work is not None
        return work


class GradientSync:
    """The gradients of modules, to be summed over all processes at the end of each way back."""

    def __init__(self, modules: Iterable[nn.Module]):
        held = list(modules)
        self.sharded: list[Any] = [module for module in held if is_sharded(module)]
        weights = [weight for module in held for weight in module.parameters() if not is_sharded(weight)]
        self.weights = weights if distributed.world_size() > 1 else []
        device = self.weights[0].device if self.weights else "cpu"
        self.flat = torch.zeros(sum(weight.numel() for weight in self.weights), device=device)
        """For all gradients, taken now: what the first step has memory for, all have."""
        self.arrived: list[Tensor] = []
        """Those whose gradient is complete, in the order in which it came."""
        self.buckets: list[Bucket] = []
        self.missing: list[int] = []
        """Of how many weights of each bucket the gradient is not complete."""
        self.sent: list[dist.Work] = []
        self.overlapping = False
        """Whether buckets go out as they are complete."""
        self.size, self.proven = 0, 0
        """Images in the micro-batches of this step, and of the last step that completed."""
        for weight in self.weights:
            weight.register_post_accumulate_grad_hook(self._arrive)

    def begin_micro_batch(self, size: int, last: bool) -> None:
        """Say that a part of the batch comes next, of `size` images or fewer, and whether it is the `last`."""
        self.size, self.overlapping, self.arrived = size, last and size == self.proven, []
        self.missing = [len(bucket.weights) for bucket in self.buckets]
        for module in self.sharded:
            module.set_requires_gradient_sync(last)

    def can_retry(self) -> bool:
        """Whether this process can begin the step anew alone: nothing of it has gone out to the others."""
        return not self.sent and not self.sharded

    def all_reduce(self, loss: Float[Tensor, " own"], own: slice, batch: int) -> Float[Tensor, " b"]:
        """The losses of the complete batch, of which `loss` has the slice `own`; the gradients are complete too."""
        if distributed.world_size() == 1:
            return loss
        losses = loss.new_zeros(batch)
        losses[own] = loss
        if self.weights and not self.buckets:
            self.buckets = self._grouped()
        self._send(all_of_them=True)
        with distributed.peer_errors():
            dist.all_reduce(losses)
            for work in self.sent:
                work.wait()
        self.sent, self.overlapping, self.proven = [], False, self.size
        return losses

    def _arrive(self, weight: Tensor) -> None:
        """The gradient of one more weight is complete."""
        self.arrived.append(weight)
        if self.overlapping:
            self.missing[self.home[id(weight)]] -= 1
            self._send()

    def _grouped(self) -> list[Bucket]:
        """All weights in buckets, in the order in which their gradients came to the first process."""
        number = {id(weight): place for place, weight in enumerate(self.weights)}
        order = distributed.broadcast_object(lambda: [number[id(weight)] for weight in self.arrived])
        every = [self.weights[place] for place in dict.fromkeys([*order, *range(len(self.weights))])]
        groups = list(group_by_size(every))
        rooms = self.flat.split([sum(weight.numel() for weight in group) for group in groups])
        return [Bucket(group, room) for group, room in zip(groups, rooms, strict=True)]

    @cached_property
    def home(self) -> dict[int, int]:
        """The number of the bucket of each weight."""
        return {id(weight): number for number, bucket in enumerate(self.buckets) for weight in bucket.weights}

    def _send(self, all_of_them: bool = False) -> None:
        """Send the buckets that are complete, in their order, which has to be the same on all processes."""
        while len(self.sent) < len(self.buckets) and (all_of_them or not self.missing[len(self.sent)]):
            self.sent.append(self.buckets[len(self.sent)].begin())


def group_by_size(weights: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Weights in groups of the size of a bucket at most, in their order; a larger one is alone."""
    group: list[Tensor] = []
    for weight in weights:
        if group and sum(one.numel() for one in group) + weight.numel() > BUCKET:
            yield group
            group = []
        group.append(weight)
    if group:
        yield group
