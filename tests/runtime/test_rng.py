"""Random numbers are a function of their address."""

import torch
from torch.testing import assert_close

from limpid.runtime.rng import generator, seed_for


def test_equal_addresses_give_equal_random_numbers_and_others_do_not():
    numbers = [
        torch.rand(4, generator=generator("cpu", *parts))
        for parts in [(1, "noise", 2), (1, "noise", 2), (1, "noise", 3)]
    ]
    assert_close(numbers[0], numbers[1], rtol=0, atol=0)
    assert not torch.equal(numbers[0], numbers[2])


def test_an_address_is_not_the_concatenation_of_its_parts():
    assert seed_for(1, 23) != seed_for(12, 3)
    assert seed_for("1") != seed_for(1)
