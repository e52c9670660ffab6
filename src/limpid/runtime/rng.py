"""Randomness by address: every generator is seeded with what it is used for, so no generator state has to be saved.

`generator(device, seed, "noise", 1280)` is the noise of the batch that starts at image 1280: the same in a run that
never stopped, in one that was resumed there, and in every process of a distributed run.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Int64
from torch import Tensor


def seed_for(*parts: int | str) -> int:
    """A 63-bit seed from an address of numbers and words: equal addresses give equal seeds, others unrelated ones."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(device: torch.device | str, *parts: int | str) -> torch.Generator:
    """A fresh generator on `device`, seeded with the address `parts`."""
    return torch.Generator(device).manual_seed(seed_for(*parts))


@contextmanager
def default_generators_seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """A context in which torch's default generators of the CPU and of `device` are seeded; it restores their state.

    For operations that take no generator: torch's initialisation of weights, and its dropout on a GPU.
    """
    with ExitStack() as undo:
        for default in _default_generators(torch.device(device)):
            undo.callback(default.set_state, default.get_state())
            default.manual_seed(seed)
        yield


def _default_generators(device: torch.device) -> list[torch.Generator]:
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    elif device.type == "mps":
        generators.append(torch.mps._get_default_mps_generator())
    return generators


def random_subset(n: int, total: int) -> Int64[Tensor, " m"]:
    """The sorted indices of n out of `total` items: a uniform random subset, always the same; all if there are fewer.

    Images are often sorted by class or name, so that the first n would be of one class.
    """
    return torch.randperm(total, generator=generator("cpu", "chosen"))[:n].sort().values
