"""All-reduce of gradients over processes, overlapped with the backward pass.

As torch's DistributedDataParallel, with two guarantees added. A resumed run gives the same bits as one that never
stopped: buckets are the same from the first step on, whereas DDP regroups them after its first step, and with three
processes another grouping is another order of sums. And a process that runs out of memory can retry its step alone: the
first step with a new micro-batch size sends nothing before its backward pass is complete. That step also records the
order in which gradients arrive, which defines the buckets.
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

BUCKET_SIZE = 2**22
"""Values per all-reduce: 16 MB, sent while the gradients of the next bucket are computed."""


class Bucket:
    """Weights whose gradients are stored contiguously in `buffer` and summed by one all-reduce."""

    def __init__(self, weights: Sequence[Tensor], buffer: Float[Tensor, " n"]):
        self.weights, self.buffer = weights, buffer
        parts = buffer.split([weight.numel() for weight in weights])
        # Each view has the strides of its weight, so that the copy of a gradient is contiguous.
        self.views = [
            part.as_strided(weight.shape, weight.stride()) for weight, part in zip(weights, parts, strict=True)
        ]

    def start_all_reduce(self) -> dist.Work:
        """Start the all-reduce of the gradients, which from now on are views of the buffer."""
        for weight, view in zip(self.weights, self.views, strict=True):
            if weight.grad is None:
                view.zero_()
            else:
                weight.grad = view.copy_(weight.grad)
        with distributed.peer_errors():
            work = dist.all_reduce(self.buffer, async_op=True)
        assert work is not None
        return work


class GradientSync:
    """Sums the gradients of modules over all processes at the end of each backward pass."""

    def __init__(self, modules: Iterable[nn.Module]):
        all_modules = list(modules)
        self.sharded: list[Any] = [module for module in all_modules if is_sharded(module)]
        weights = [weight for module in all_modules for weight in module.parameters() if not is_sharded(weight)]
        self.weights = weights if distributed.world_size() > 1 else []
        device = self.weights[0].device if self.weights else "cpu"
        self.flat = torch.zeros(sum(weight.numel() for weight in self.weights), device=device)
        """Buffer of all gradients, allocated now, so that memory which suffices for the first step suffices for all."""
        self.arrived: list[Tensor] = []
        """Weights whose gradient is complete, in the order of arrival."""
        self.buckets: list[Bucket] = []
        self.missing: list[int] = []
        """Number of weights of each bucket whose gradient is not complete."""
        self.sent: list[dist.Work] = []
        self.overlapping = False
        """Whether buckets are sent as soon as they are complete."""
        self.size, self.proven = 0, 0
        """Images in the micro-batches of this step, and of the last step that completed."""
        for weight in self.weights:
            weight.register_post_accumulate_grad_hook(self._on_gradient)

    def begin_micro_batch(self, size: int, last: bool) -> None:
        """Announce the next micro-batch, of `size` images or fewer, and whether it is the `last` of the batch."""
        self.size, self.overlapping, self.arrived = size, last and size == self.proven, []
        self.missing = [len(bucket.weights) for bucket in self.buckets]
        for module in self.sharded:
            module.set_requires_gradient_sync(last)

    def can_retry(self) -> bool:
        """Whether this process can retry the step alone: nothing of it has been sent to the others."""
        return not self.sent and not self.sharded

    def all_reduce(self, loss: Float[Tensor, " own"], own: slice, batch: int) -> Float[Tensor, " b"]:
        """Sum the gradients over all processes, and return the losses of the complete batch.

        `loss` holds the losses of the slice `own`.
        """
        if distributed.world_size() == 1:
            return loss
        losses = loss.new_zeros(batch)
        losses[own] = loss
        if self.weights and not self.buckets:
            self.buckets = self._make_buckets()
        self._send(all_of_them=True)
        with distributed.peer_errors():
            dist.all_reduce(losses)
            for work in self.sent:
                work.wait()
        self.sent, self.overlapping, self.proven = [], False, self.size
        return losses

    def _on_gradient(self, weight: Tensor) -> None:
        """Hook: the gradient of one more weight is complete."""
        self.arrived.append(weight)
        if self.overlapping:
            self.missing[self.bucket_number[id(weight)]] -= 1
            self._send()

    def _make_buckets(self) -> list[Bucket]:
        """All weights in buckets, in the order in which their gradients arrived on the main process."""
        number = {id(weight): i for i, weight in enumerate(self.weights)}
        order = distributed.broadcast_object(lambda: [number[id(weight)] for weight in self.arrived])
        ordered = [self.weights[i] for i in dict.fromkeys([*order, *range(len(self.weights))])]
        groups = list(group_by_size(ordered))
        buffers = self.flat.split([sum(weight.numel() for weight in group) for group in groups])
        return [Bucket(group, buffer) for group, buffer in zip(groups, buffers, strict=True)]

    @cached_property
    def bucket_number(self) -> dict[int, int]:
        """The number of the bucket of each weight."""
        return {id(weight): number for number, bucket in enumerate(self.buckets) for weight in bucket.weights}

    def _send(self, all_of_them: bool = False) -> None:
        """Send the complete buckets in order, as the order has to be the same on all processes."""
        while len(self.sent) < len(self.buckets) and (all_of_them or not self.missing[len(self.sent)]):
            self.sent.append(self.buckets[len(self.sent)].start_all_reduce())


def group_by_size(weights: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Weights in order, in groups of at most the size of a bucket; a larger weight is a group of its own."""
    group: list[Tensor] = []
    for weight in weights:
        if group and sum(w.numel() for w in group) + weight.numel() > BUCKET_SIZE:
            yield group
            group = []
        group.append(weight)
    if group:
        yield group
