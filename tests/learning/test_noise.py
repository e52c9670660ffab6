"""Noise is standard normal, lies with channels last, and is the same whoever draws it."""

import math

import pytest
import torch

from limpid.learning.noise import BLOCK, normal

SHAPE = (20, 3, 64, 48)  # four blocks, the last not whole


def test_noise_is_standard_normal():
    x = normal(SHAPE, "cpu", 0, "noise", 0).double().flatten()
    n = len(x)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - expected) < 4 * math.sqrt(variance / n)
    assert 4 < x.abs().max() < 6.5
    tail = math.erfc(3 / math.sqrt(2))
    assert abs((x.abs() > 3).double().mean() - tail) < 4 * math.sqrt(tail / n)


def test_blocks_are_unrelated():
    x = normal(SHAPE, "cpu", 0, "noise", 0).permute(0, 2, 3, 1).flatten()
    first, second = x[:BLOCK], x[BLOCK : 2 * BLOCK]
    assert not torch.equal(first, second)
    assert abs((first * second).mean()) < 4 / math.sqrt(BLOCK)


def test_noise_lies_with_channels_last():
    assert normal(SHAPE, "cpu", 1).is_contiguous(memory_format=torch.channels_last)
    assert normal(SHAPE, "cpu", 1).shape == SHAPE


def test_the_same_address_has_the_same_noise_whatever_the_number_of_threads():
    alone = normal(SHAPE, "cpu", 0, "noise", 128)
    torch.set_num_threads(3)
    try:
        assert torch.equal(normal(SHAPE, "cpu", 0, "noise", 128), alone)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("other", [(0, "noise", 129), (1, "noise", 128), (0, "labels", 128)])
def test_another_address_has_other_noise(other: tuple[int | str, ...]):
    assert not torch.equal(normal(SHAPE, "cpu", *other), normal(SHAPE, "cpu", 0, "noise", 128))
