"""Noise for pictures, drawn by address: the same numbers whatever the number of threads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.learning.rng import generator

BLOCK = 2**16
"""Numbers of one draw on a CPU: 256 kB stay in a core's cache, where torch goes over them twice. A fourth is saved."""


def normal(shape: Sequence[int], device: torch.device | str, *address: int | str) -> Float[Tensor, "b c h w"]:
    """Standard normal numbers for pictures of `shape`, (b, c, h, w), laid out with channels last.

    On a CPU every block has an address of its own, so threads draw them side by side. They are drawn where they lie:
    torch takes five times as long to draw into any layout but the plain one.
    """
    b, c, h, w = shape
    plain = torch.empty(b, h, w, c, device=device)
    if plain.device.type == "cpu":
        blocks: list[Tensor] = list(plain.view(-1).split(BLOCK))
        draw = _threads(torch.get_num_threads()).map if len(blocks) > 1 else map
        for _ in draw(lambda i: blocks[i].normal_(generator=generator("cpu", *address, i)), range(len(blocks))):
            pass
    else:
        plain.normal_(generator=generator(device, *address))
    return plain.permute(0, 3, 1, 2)


@lru_cache(maxsize=1)
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number)
