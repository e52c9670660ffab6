"""Many processes that train one network: the one file that knows how many there are, and which one this is.

torchrun starts them and tells each its number; without it there is one, and nothing here does anything. All draw the
same batch, each studies a share of it, and gradients and losses are summed: what follows from them is the same on all,
and what one process would come to, up to the order of sums.
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
PATIENCE = timedelta(hours=1)
"""How long one waits for another, which may be drawing meanwhile. That one has ended is noticed at once."""
MOMENT = 2.0
"""Seconds that others leave to the one whose error it is: torchrun has seen it end, and ended them, by then."""

LAST = 0.05
"""Seconds for gloo's threads to let go of what was sent last: they need Python for it, and where sharded weights keep
them, abort once it has gone."""


class Lost(ConnectionError):
    """Another process has ended, or does not answer."""


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this one, from 0 on."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def first() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def local() -> int:
    """The number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if count() > 1 else 0


def device_of(device: str) -> str:
    """The device of this process: of a machine's GPUs each takes the one of its own number.

    Raises ValueError for a device that many cannot share.
    """
    if count() == 1 or device == "cpu":
        return device
    if device != "cuda":
        raise ValueError(f"--device {device} for each of {count()} processes: expected cpu, or cuda, a GPU for each")
    return f"cuda:{local()}"


def share(batch: int) -> slice:
    """Which pictures of a batch this process studies: stretches in order, whose lengths differ by one at most.

    Raises ValueError if there are fewer than processes.
    """
    if batch < count():
        raise ValueError(f"batch {batch} for {count()} processes: expected at least one picture for each")
    return slice(batch * rank() // count(), batch * (rank() + 1) // count())


@contextmanager
def company(welcome: bool = True) -> Iterator[None]:
    """What a command does in here it may do together with others; of these the first alone prints.

    An error ends all: the process whose it is tells it and ends, which the others notice. Raises ValueError where there
    are others and they are not `welcome`.
    """
    if count() == 1:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(sys.stdout if first() else nowhere):
        try:
            if not welcome:
                raise ValueError(f"this is done by a single process, and here are {count()}: leave out torchrun")
            yield
            leave()
        except Exception as error:
            if not isinstance(error, ValueError | Lost):
                from torch.distributed.elastic.multiprocessing.errors import get_error_handler

                get_error_handler().record_exception(error)  # for torchrun to show
            if not first() or isinstance(error, Lost):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, which would end it before it has said why
                time.sleep(MOMENT)
            raise


def join(device: str) -> None:
    """Meet the others, once in the life of a process, to work on devices of this kind."""
    if count() == 1 or dist.is_initialized():
        return
    import torch.distributed.nn  # its functions' defaults keep the group they find, and its threads past Python's end

    own = torch.device(device) if device.startswith("cuda") else None
    if own is not None:
        torch.cuda.set_device(own)
    # Beside a GPU, what concerns the host alone goes by gloo: no GPU is waited for, and who is gone is missed at once.
    dist.init_process_group("cpu:gloo,cuda:nccl" if own else "gloo", timeout=PATIENCE, device_id=own)


def leave() -> None:
    """Part from the others, when all have come so far: gloo may abort where one has gone that another still greets."""
    if dist.is_initialized():
        meet()
        time.sleep(LAST)
        dist.destroy_process_group()


@contextmanager
def listening() -> Iterator[None]:
    """Raises Lost for what the libraries say in here of processes that do not answer."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1:]
        raise Lost(f"process {rank()} of {count()} has lost the others: {why[0] if why else error!r}") from error


def any_of(wish: bool) -> bool:
    """Whether any process wishes it; all ask at the same place, and get the same answer."""
    if count() == 1:
        return wish
    wishes = torch.tensor(int(wish))
    with listening():
        dist.all_reduce(wishes, dist.ReduceOp.MAX)
    return bool(wishes)


def meet() -> None:
    """Wait until all have come so far."""
    any_of(False)


def told(ask: Callable[[], Made]) -> Made:
    """What `ask` returns on the first process, which alone asks, on all of them."""
    if count() == 1:
        return ask()
    held: list[Any] = [ask() if first() else None]
    with listening():
        dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    return held[0]


def tensors_told(ask: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """As `told`, for tensors by name, in the memory of the host."""
    if count() == 1:
        return ask()
    own = ask() if first() else {}
    kinds = told(lambda: {name: (tuple(value.shape), value.dtype) for name, value in own.items()})
    held: dict[str, Tensor] = {}
    for name, (shape, dtype) in kinds.items():
        held[name] = own[name].detach().cpu().contiguous() if first() else torch.empty(shape, dtype=dtype)
        if held[name].numel():
            with listening():
                dist.broadcast(held[name].view(-1).view(torch.uint8), 0)
    return held


def one_before(work: Callable[[], Made]) -> Made:
    """What `work` returns, done by one process of each machine before the others, which find what it has kept."""
    if local():
        meet()
    done = work()
    if not local():
        meet()
    return done


def in_turns(make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """As `map`, but the processes take turns, and each has what the others made."""
    if count() == 1:
        yield from map(make, given)
        return
    items = list(given)
    for begin in range(0, len(items), count()):
        turn = items[begin : begin + count()]
        made: list[Any] = [None] * count()
        own = make(turn[rank()]) if rank() < len(turn) else None
        with listening():
            dist.all_gather_object(made, own)
        yield from made[: len(turn)]
