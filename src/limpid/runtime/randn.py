"""Noise for images, seeded by an address: the same values for any number of threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.runtime.rng import generator

RNG_BLOCK = 2**16
"""Values per generator on a CPU: 256 kB stay in a core's cache, which torch passes over twice. Saves a fourth."""
PIECE = 2**14
"""Values that a thread copies at a time: half of the number from which torch would use more threads."""


def randn(shape: Sequence[int], device: torch.device | str, *address: int | str) -> Float[Tensor, "b c h w"]:
    """Standard normal noise for images of `shape`, (b, c, h, w), in channels-last layout.

    On a CPU every block has an address of its own, so that threads can fill them in parallel. They are filled in a
    contiguous layout and then permuted: torch takes five times as long to sample into any other layout.
    """
    b, c, h, w = shape
    plain = torch.empty(b, h, w, c, device=device)
    if plain.device.type == "cpu":
        blocks: list[Tensor] = list(plain.view(-1).split(RNG_BLOCK))
        draw = _threads(torch.get_num_threads()).map if len(blocks) > 1 else map
        for _ in draw(lambda i: blocks[i].normal_(generator=generator("cpu", *address, i)), range(len(blocks))):
            pass
    else:
        plain.normal_(generator=generator(device, *address))
    return plain.permute(0, 3, 1, 2)


def seeded_randn(
    generators: Sequence[torch.Generator], shape: tuple[int, int, int], device: torch.device | str, *, ahead: bool
) -> Iterator[Float[Tensor, "b c h w"]]:
    """Standard normal images of `shape`, (c, h, w), one by each of the CPU's generators, again and again without end.

    All of torch's threads draw and lay them out with channels last; a number depends on its image's generator alone.
    With `ahead`, other threads draw the next ones while the device makes its step. They begin after the second draw,
    since a deterministic sampler asks only for the noise it starts from.
    """
    pinned = torch.device(device).type == "cuda"  # a GPU then copies by itself, and the host need not wait for it
    begin = partial(_begin, generators, shape, pinned, ahead)
    begun = None
    for draws in count():
        images = (begun or begin())()
        begun = begin() if ahead and draws else None
        yield images.to(device, non_blocking=pinned)


def _begin(
    generators: Sequence[torch.Generator], shape: tuple[int, int, int], pinned: bool, ahead: bool
) -> Callable[[], Float[Tensor, "b c h w"]]:
    """Start filling images with noise on threads; returns a function that finishes the work and returns the images.

    The function fills the pieces that no thread has begun, as threads may start late on a busy machine, and waits for
    the others. Without `ahead`, nothing is started if there is only one thread or one piece.
    """
    b, (c, h, w) = len(generators), shape
    strides = torch.empty(b, c, h, w, device="meta").contiguous(memory_format=torch.channels_last).stride()
    with torch.inference_mode(False):  # the mode is per thread: other threads could not write to inference tensors
        images = torch.empty_strided((b, c, h, w), strides, device="cpu", pin_memory=pinned)
    n = max(1, PIECE // (c * h * w))
    pieces = [partial(_fill, images[i : i + n], generators[i : i + n]) for i in range(0, b, n)]
    number = torch.get_num_threads()
    shared = ahead or (number > 1 and len(pieces) > 1)
    tasks = [_threads(number).submit(piece) if shared else None for piece in pieces]

    def end() -> Float[Tensor, "b c h w"]:
        for piece, task in zip(reversed(pieces), reversed(tasks), strict=True):
            if task is None or task.cancel():
                piece()
            else:
                task.result()
        return images

    return end


def _fill(images: Float[Tensor, "n c h w"], generators: Sequence[torch.Generator]) -> None:
    """Fill each image from its generator, copying in parts so small that torch uses no other thread for them."""
    n, c, h, w = images.shape
    noise = torch.empty(n, c, h, w, device="cpu")
    for image, image_generator in zip(noise, generators, strict=True):
        image.normal_(generator=image_generator)
    rows = max(1, PIECE // (n * c * w))
    for target, source in zip(images.split(rows, 2), noise.split(rows, 2), strict=True):
        target.copy_(source)


@lru_cache(maxsize=1)
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number)
