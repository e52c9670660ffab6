"""Weights that are the same everywhere, for networks of which only the names and shapes of the tensors are known."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def numbers(shape: Sequence[int], start: int) -> Tensor:
    """Numbers in [-0.5, 0.5] that look random and are the same everywhere: k = i^2 + 7 i start + start modulo 1009."""
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    return (((i * i + 7 * i * start + start) % 1009).double() / 1009 - 0.5).float().reshape(tuple(shape))


def fill(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """A tensor of each shape, in the order of the names; every one changes what the network answers."""
    state = {}
    for start, (name, shape) in enumerate(sorted(shapes.items())):
        weight = numbers(shape, start)
        if len(shape) > 1:
            weight = weight * 3 / math.prod(shape[1:] if "NIN" not in name else shape[:1]) ** 0.5
        state[name] = weight + (1 if len(shape) == 1 and name.endswith("weight") else 0)
    return state


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Images, timesteps and labels."""
    return 4 * numbers((2, 3, 16, 16), 500), torch.tensor([3, 40]), torch.tensor([1, 2])
