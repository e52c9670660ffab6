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
"""Values per generator on a CPU: 256 kB fit in a core's cache. Torch passes over them twice; this saves a quarter."""
COPY_BLOCK = 2**14
"""Values that a thread copies at a time: half of the number from which torch would use more threads."""


def randn(shape: Sequence[int], device: torch.device | str, *address: int | str) -> Float[Tensor, "b c h w"]:
    """Standard normal noise for images of `shape`, (b, c, h, w), in channels-last layout.

    On a CPU every block has an address of its own, so that threads can fill them in parallel. They are filled in a
    contiguous layout and then permuted: torch takes five times as long to sample into any other layout.
    """
    b, c, h, w = shape
    contiguous = torch.empty(b, h, w, c, device=device)
    if contiguous.device.type == "cpu":
        blocks: list[Tensor] = list(contiguous.view(-1).split(RNG_BLOCK))
        map_blocks = _threads(torch.get_num_threads()).map if len(blocks) > 1 else map
        for _ in map_blocks(lambda i: blocks[i].normal_(generator=generator("cpu", *address, i)), range(len(blocks))):
            pass
    else:
        contiguous.normal_(generator=generator(device, *address))
    return contiguous.permute(0, 3, 1, 2)


def seeded_randn(
    generators: Sequence[torch.Generator], shape: tuple[int, int, int], device: torch.device | str, *, prefetch: bool
) -> Iterator[Float[Tensor, "b c h w"]]:
    """An endless iterator of batches of standard normal images of `shape`, (c, h, w): one image by each generator.

    The generators are on the CPU, for the same values on every device. All of torch's threads fill a batch, which is
    in channels-last layout; the values of an image depend on its generator alone. With `prefetch`, threads fill the
    next batch while the device makes its step, from the second batch on: a deterministic sampler needs only the first.
    """
    pinned = torch.device(device).type == "cuda"  # a GPU then copies by itself, and the host need not wait for it
    start = partial(_start_filling, generators, shape, pinned, prefetch)
    started = None
    for i in count():
        images = (started or start())()
        started = start() if prefetch and i else None
        yield images.to(device, non_blocking=pinned)


def _start_filling(
    generators: Sequence[torch.Generator], shape: tuple[int, int, int], pinned: bool, prefetch: bool
) -> Callable[[], Float[Tensor, "b c h w"]]:
    """Start filling images with noise on threads; returns a function that finishes the work and returns the images.

    The function itself fills the parts that no thread has started, as threads may start late on a busy machine, and
    waits for the others. Without `prefetch`, no thread is used if there is only one, or only one part.
    """
    b, (c, h, w) = len(generators), shape
    strides = torch.empty(b, c, h, w, device="meta").contiguous(memory_format=torch.channels_last).stride()
    with torch.inference_mode(False):  # the mode is per thread: other threads could not write to inference tensors
        images = torch.empty_strided((b, c, h, w), strides, device="cpu", pin_memory=pinned)
    n = max(1, COPY_BLOCK // (c * h * w))
    parts = [partial(_fill, images[i : i + n], generators[i : i + n]) for i in range(0, b, n)]
    threads = torch.get_num_threads()
    use_threads = prefetch or (threads > 1 and len(parts) > 1)
    tasks = [_threads(threads).submit(part) if use_threads else None for part in parts]

    def finish() -> Float[Tensor, "b c h w"]:
        for part, task in zip(reversed(parts), reversed(tasks), strict=True):
            if task is None or task.cancel():
                part()
            else:
                task.result()
        return images

    return finish


def _fill(images: Float[Tensor, "n c h w"], generators: Sequence[torch.Generator]) -> None:
    """Fill each image from its generator, copying in parts so small that torch uses no other thread for them."""
    n, c, h, w = images.shape
    noise = torch.empty(n, c, h, w, device="cpu")
    for image, image_generator in zip(noise, generators, strict=True):
        image.normal_(generator=image_generator)
    rows = max(1, COPY_BLOCK // (n * c * w))
    for target, source in zip(images.split(rows, 2), noise.split(rows, 2), strict=True):
        target.copy_(source)


@lru_cache(maxsize=1)
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number)
