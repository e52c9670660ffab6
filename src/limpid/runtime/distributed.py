"""Many processes that train one network: the one file that knows how many there are, and which one this is.

torchrun starts them and tells each its number; without it there is one, and nothing here does anything. All draw the
same batch, each trains on a slice of it, and gradients and losses are summed: what follows from them is the same on
all, and what one process would come to, up to the order of sums.
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

Given = TypeVar("Given")
Made = TypeVar("Made")
COLLECTIVE_TIMEOUT = timedelta(hours=1)
"""How long one waits for another, which may be drawing meanwhile. That one has ended is noticed at once."""
MOMENT = 2.0
"""Seconds that others leave to the one whose error it is: torchrun has seen it end, and ended them, by then."""

LAST = 0.05
"""Seconds for gloo's threads to let go of what was sent last: they need Python for it, and where sharded weights keep
them, abort once it has gone."""


class PeerLostError(ConnectionError):
    """Another process has ended, or does not answer."""


def world_size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this one, from 0 on."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def is_main_process() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def local_rank() -> int:
    """The number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world_size() > 1 else 0


def device_of(device: str) -> str:
    """The device of this process: of a machine's GPUs each takes the one of its own number.

    Raises ValueError for a device that many cannot share.
    """
    if world_size() == 1 or device == "cpu":
        return device
    if device != "cuda":
        raise ValueError(
            f"--device {device} for each of {world_size()} processes: expected cpu, or cuda, a GPU for each"
        )
    return f"cuda:{local_rank()}"


def local_slice(batch: int) -> slice:
    """The slice of a batch that this process trains on: consecutive slices, whose lengths differ by one at most.

    Raises ValueError if there are fewer than processes.
    """
    if batch < world_size():
        raise ValueError(f"batch {batch} for {world_size()} processes: expected at least one image for each")
    return slice(batch * rank() // world_size(), batch * (rank() + 1) // world_size())


@contextmanager
def distributed_session(allowed: bool = True) -> Iterator[None]:
    """What a command does in here it may do together with others; of these the first alone prints.

    An error ends all: the process whose it is tells it and ends, which the others notice. Raises ValueError where there
    are others and they are not `welcome`.
    """
    if world_size() == 1:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(sys.stdout if is_main_process() else nowhere):
        try:
            if not allowed:
                raise ValueError(f"this is done by a single process, and here are {world_size()}: leave out torchrun")
            yield
            shutdown()
        except Exception as error:
            if not isinstance(error, ValueError | PeerLostError):
                from torch.distributed.elastic.multiprocessing.errors import get_error_handler

                get_error_handler().record_exception(error)  # for torchrun to show
            if not is_main_process() or isinstance(error, PeerLostError):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, which would end it before it has said why
                time.sleep(MOMENT)
            raise


def init(device: str) -> None:
    """Meet the others, once in the life of a process, to work on devices of this kind."""
    if world_size() == 1 or dist.is_initialized():
        return
    import torch.distributed.nn  # its functions' defaults keep the group they find, and its threads past Python's end

    own = torch.device(device) if device.startswith("cuda") else None
    if own is not None:
        torch.cuda.set_device(own)
    # Beside a GPU, what concerns the host alone goes by gloo: no GPU is waited for, and who is gone is missed at once.
    dist.init_process_group("cpu:gloo,cuda:nccl" if own else "gloo", timeout=COLLECTIVE_TIMEOUT, device_id=own)


def shutdown() -> None:
    """Part from the others, when all have come so far: gloo may abort where one has gone that another still greets."""
    if dist.is_initialized():
        barrier()
        time.sleep(LAST)
        dist.destroy_process_group()


@contextmanager
def peer_errors() -> Iterator[None]:
    """Raises PeerLostError for what the libraries say in here of processes that do not answer."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1:]
        raise PeerLostError(
            f"process {rank()} of {world_size()} has lost the others: {why[0] if why else error!r}"
        ) from error


def any_rank(wish: bool) -> bool:
    """Whether any process wishes it; all ask at the same place, and get the same answer."""
    if world_size() == 1:
        return wish
    wishes = torch.tensor(int(wish))
    with peer_errors():
        dist.all_reduce(wishes, dist.ReduceOp.MAX)
    return bool(wishes)


def barrier() -> None:
    """Wait until all have come so far."""
    any_rank(False)


def broadcast_object(ask: Callable[[], Made]) -> Made:
    """What `ask` returns on the first process, which alone asks, on all of them."""
    if world_size() == 1:
        return ask()
    held: list[Any] = [ask() if is_main_process() else None]
    with peer_errors():
        dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    return held[0]


def broadcast_tensors(ask: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """As `broadcast_object`, for tensors by name, in the memory of the host."""
    if world_size() == 1:
        return ask()
    own = ask() if is_main_process() else {}
    kinds = broadcast_object(lambda: {name: (tuple(value.shape), value.dtype) for name, value in own.items()})
    held: dict[str, Tensor] = {}
    for name, (shape, dtype) in kinds.items():
        held[name] = own[name].detach().cpu().contiguous() if is_main_process() else torch.empty(shape, dtype=dtype)
        if held[name].numel():
            with peer_errors():
                dist.broadcast(held[name].view(-1).view(torch.uint8), 0)
    return held


def local_main_first(work: Callable[[], Made]) -> Made:
    """What `work` returns, done by one process of each machine before the others, which find what it has kept."""
    if local_rank():
        barrier()
    done = work()
    if not local_rank():
        barrier()
    return done


def parallel_map(make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """As `map`, but the processes take turns, and each has what the others made."""
    if world_size() == 1:
        yield from map(make, given)
        return
    items = list(given)
    for begin in range(0, len(items), world_size()):
        turn = items[begin : begin + world_size()]
        made: list[Any] = [None] * world_size()
        own = make(turn[rank()]) if rank() < len(turn) else None
        with peer_errors():
            dist.all_gather_object(made, own)
        yield from made[: len(turn)]
