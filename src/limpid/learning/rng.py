"""Randomness by address: every draw is made by a generator seeded with what it is for, so none has to be remembered.

`generator(device, seed, "noise", 1280)` is the noise of the batch that starts at image 1280: the same in a run that
never stopped, in one that was resumed there, and in every process of a distributed run.
"""

import hashlib

import torch


def address(*parts: int | str) -> int:
    """A 63-bit seed from an address of numbers and words: equal addresses give equal seeds, others unrelated ones."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(device: torch.device | str, *parts: int | str) -> torch.Generator:
    """A fresh generator on `device`, seeded with the address `parts`."""
    return torch.Generator(device).manual_seed(address(*parts))
