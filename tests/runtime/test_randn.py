"""Noise is standard normal, lies with channels last, and is the same whoever draws it."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pytest
import torch
from torch import Tensor

from limpid.runtime.randn import RNG_BLOCK, randn, seeded_randn
from limpid.runtime.rng import generator

SHAPE = (20, 3, 64, 48)  # four blocks, the last one incomplete


def test_noise_is_standard_normal():
    x = randn(SHAPE, "cpu", 0, "noise", 0).double().flatten()
    n = len(x)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - expected) < 4 * math.sqrt(variance / n)
    assert 4 < x.abs().max() < 6.5
    tail = math.erfc(3 / math.sqrt(2))
    assert abs((x.abs() > 3).double().mean() - tail) < 4 * math.sqrt(tail / n)


def test_blocks_of_noise_are_uncorrelated():
    x = randn(SHAPE, "cpu", 0, "noise", 0).permute(0, 2, 3, 1).flatten()
    first, second = x[:RNG_BLOCK], x[RNG_BLOCK : 2 * RNG_BLOCK]
    assert not torch.equal(first, second)
    assert abs((first * second).mean()) < 4 / math.sqrt(RNG_BLOCK)


def test_noise_is_channels_last():
    assert randn(SHAPE, "cpu", 1).is_contiguous(memory_format=torch.channels_last)
    assert randn(SHAPE, "cpu", 1).shape == SHAPE


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_the_same_address_has_the_same_noise_whatever_the_number_of_threads():
    alone = randn(SHAPE, "cpu", 0, "noise", 128)
    with threads(3):
        assert torch.equal(randn(SHAPE, "cpu", 0, "noise", 128), alone)


@pytest.mark.parametrize("other", [(0, "noise", 129), (1, "noise", 128), (0, "labels", 128)])
def test_another_address_has_other_noise(other: tuple[int | str, ...]):
    assert not torch.equal(randn(SHAPE, "cpu", *other), randn(SHAPE, "cpu", 0, "noise", 128))


def by_seed(seeds: range) -> list[torch.Generator]:
    return [generator("cpu", "image", seed) for seed in seeds]


def one_by_one(generators: list[torch.Generator], shape: tuple[int, int, int]) -> Tensor:
    """What the images' generators draw next, by the definition: one after the other, on this thread."""
    return torch.stack([torch.randn(shape, generator=draw) for draw in generators])


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (1, 28, 28), (3, 7, 5), (1, 1, 3), (4, 1, 1), (3, 120, 100)], ids=lambda shape: f"{shape}"
)
def test_each_image_has_the_bits_of_its_own_generator_in_every_implementation(
    shape: tuple[int, int, int], number: int, prefetch: bool
):
    n = 41  # for most shapes several parts, the last one incomplete; an image of the largest is copied in two
    with threads(number):
        draws = list(islice(seeded_randn(by_seed(range(n)), shape, "cpu", prefetch=prefetch), 4))
    generators = by_seed(range(n))
    for noises in draws:
        expected = one_by_one(generators, shape).contiguous(memory_format=torch.channels_last)
        assert torch.equal(noises, expected)
        assert noises.stride() == expected.stride()


def test_an_image_has_the_same_noise_alone_and_among_others():
    stream = seeded_randn(by_seed(range(40)), (3, 32, 32), "cpu", prefetch=False)
    alone = seeded_randn(by_seed(range(33, 34)), (3, 32, 32), "cpu", prefetch=False)
    for many, one in islice(zip(stream, alone, strict=True), 3):
        assert torch.equal(many[33:34], one)


def states_after(draws: int, seeds: range, shape: tuple[int, int, int]) -> list[Tensor]:
    generators = by_seed(seeds)
    for _ in range(draws):
        one_by_one(generators, shape)
    return [draw.get_state() for draw in generators]


def test_from_the_second_batch_on_the_next_one_is_prefetched():
    seeds, shape = range(20), (3, 32, 32)
    generators = by_seed(seeds)
    stream = seeded_randn(generators, shape, "cpu", prefetch=True)

    def stand_at(draws: int) -> bool:
        now = [draw.get_state() for draw in generators]
        return all(map(torch.equal, now, states_after(draws, seeds, shape)))

    next(stream)
    assert stand_at(1)
    next(stream)
    deadline = time.monotonic() + 60
    while not stand_at(3) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stand_at(3)


@pytest.mark.parametrize("prefetch", [False, True])
def test_threads_generate_noise_in_inference_mode_too(prefetch: bool):
    with threads(2), torch.inference_mode():
        noises = list(islice(seeded_randn(by_seed(range(20)), (3, 32, 32), "cpu", prefetch=prefetch), 3))
    generators = by_seed(range(20))
    assert all(torch.equal(noise, one_by_one(generators, (3, 32, 32))) for noise in noises)


def test_noise_that_was_returned_is_not_overwritten():
    stream = seeded_randn(by_seed(range(20)), (3, 32, 32), "cpu", prefetch=True)
    noises = list(islice(stream, 3))
    before = [noise.clone() for noise in noises]
    list(islice(stream, 3))
    assert all(map(torch.equal, noises, before))
