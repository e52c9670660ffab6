"""Data-parallel training with several processes: the only module that knows the world size and the rank.

torchrun starts the processes and sets their ranks; without it there is one, and these functions do nothing. All load
the same batch, each trains on a slice of it, and gradients and losses are summed: the updates are the same on all
processes, and equal to those of a single process up to the order of sums.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Item = TypeVar("Item")
Output = TypeVar("Output")
COLLECTIVE_TIMEOUT = timedelta(hours=1)
"""How long a process waits for another, which may be sampling meanwhile. One that has ended is noticed at once."""
ERROR_WAIT = 2.0
"""Seconds that the other processes wait after an error, so that torchrun sees the failed one end first."""
USER_ERROR_WAIT = 10.0
"""Seconds that they wait with a ValueError: if the main process has the same, torchrun ends them before they print."""
SHUTDOWN_WAIT = 0.05
"""Seconds for gloo's threads to release the tensors that they sent last, for which they need the Python interpreter:
they abort if it has ended while sharded weights still hold such tensors."""


class PeerLostError(ConnectionError):
    """Another process has ended, or does not answer."""


def world_size() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The rank of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def is_main_process() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def local_rank() -> int:
    """The rank of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world_size() > 1 else 0


def device_of(device: str) -> str:
    """The device of this process: for "cuda", the GPU with the process's local rank.

    Raises ValueError for a device that several processes cannot share.
    """
    if world_size() == 1 or device == "cpu":
        return device
    if device != "cuda":
        raise ValueError(
            f"--device {device} for each of {world_size()} processes: expected cpu, or cuda, a GPU for each"
        )
    return f"cuda:{local_rank()}"


def local_slice(batch: int) -> slice:
    """The slice of a batch that this process trains on: consecutive slices, whose lengths differ by at most one.

    Raises ValueError if there are fewer images than processes.
    """
    if batch < world_size():
        raise ValueError(f"batch {batch} for {world_size()} processes: expected at least one image for each")
    return slice(batch * rank() // world_size(), batch * (rank() + 1) // world_size())


@contextmanager
def distributed_session(allowed: bool = True) -> Iterator[None]:
    """A context for a command that several processes may run together; only the main process prints.

    An error ends all processes: the one that fails reports it and ends, and the others notice its end. A ValueError
    that all of them raise is reported by the main process alone: torchrun ends the others while they wait. Raises
    ValueError if there are several processes and they are not `allowed`.
    """
    if world_size() == 1:
        yield
        return
    with open(os.devnull, "w") as devnull, redirect_stdout(sys.stdout if is_main_process() else devnull):
        try:
            if not allowed:
                raise ValueError(f"this command runs in one process, not in {world_size()}: start it without torchrun")
            yield
            shutdown()
        except Exception as error:
            if not isinstance(error, ValueError | PeerLostError):
                from torch.distributed.elastic.multiprocessing.errors import get_error_handler

                get_error_handler().record_exception(error)  # for torchrun to show
            if not is_main_process() or isinstance(error, PeerLostError):
                user_error = isinstance(error, ValueError)
                if not user_error:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, which would end it before it reports
                time.sleep(USER_ERROR_WAIT if user_error else ERROR_WAIT)
            raise


def init(device: str) -> None:
    """Initialise the process group for devices of this kind, once in the life of a process."""
    if world_size() == 1 or dist.is_initialized():
        return
    import torch.distributed.nn  # imported later, its default arguments would hold the group, and its threads, at exit

    gpu = torch.device(device) if device.startswith("cuda") else None
    if gpu is not None:
        torch.cuda.set_device(gpu)
    # Tensors of the host go by gloo: no GPU is waited for, and a process that has ended is noticed at once.
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=COLLECTIVE_TIMEOUT, device_id=gpu)


def shutdown() -> None:
    """Destroy the process group once all processes are here: gloo may abort if one ends while another connects."""
    if dist.is_initialized():
        barrier()
        time.sleep(SHUTDOWN_WAIT)
        dist.destroy_process_group()


@contextmanager
def peer_errors() -> Iterator[None]:
    """A context in which errors of the communication libraries are raised as PeerLostError."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[-1]
        raise PeerLostError(f"process {rank()} of {world_size()} has lost the others: {reason}") from error


def any_rank(flag: bool) -> bool:
    """Whether the flag is true on any process; collective, and returns the same on all."""
    if world_size() == 1:
        return flag
    reduced = torch.tensor(int(flag))
    with peer_errors():
        dist.all_reduce(reduced, dist.ReduceOp.MAX)
    return bool(reduced)


def barrier() -> None:
    """Wait until all processes have reached this point."""
    any_rank(False)


def broadcast_object(compute: Callable[[], Output]) -> Output:
    """The result of `compute` on all processes; only the main process calls it. Collective."""
    if world_size() == 1:
        return compute()
    objects: list[Any] = [compute() if is_main_process() else None]
    with peer_errors():
        dist.broadcast_object_list(objects, src=0, device=torch.device("cpu"))
    return objects[0]


def broadcast_tensors(compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """As `broadcast_object`, for tensors by name; returned on the CPU."""
    if world_size() == 1:
        return compute()
    own = compute() if is_main_process() else {}
    types = broadcast_object(lambda: {name: (tuple(value.shape), value.dtype) for name, value in own.items()})
    tensors: dict[str, Tensor] = {}
    for name, (shape, dtype) in types.items():
        tensors[name] = own[name].detach().cpu().contiguous() if is_main_process() else torch.empty(shape, dtype=dtype)
        if tensors[name].numel():
            with peer_errors():
                dist.broadcast(tensors[name].view(-1).view(torch.uint8), 0)
    return tensors


def local_main_first(compute: Callable[[], Output]) -> Output:
    """The result of `compute`, which one process of each machine calls before the others: they find what it cached."""
    if local_rank():
        barrier()
    result = compute()
    if not local_rank():
        barrier()
    return result


def parallel_map(function: Callable[[Item], Output], items: Iterable[Item]) -> Iterator[Output]:
    """As `map`, but the items are divided among the processes, and each process gets all results. Collective."""
    if world_size() == 1:
        yield from map(function, items)
        return
    all_items = list(items)
    for begin in range(0, len(all_items), world_size()):
        group = all_items[begin : begin + world_size()]
        results: list[Any] = [None] * world_size()
        own = function(group[rank()]) if rank() < len(group) else None
        with peer_errors():
            dist.all_gather_object(results, own)
        yield from results[: len(group)]
