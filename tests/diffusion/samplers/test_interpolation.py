import math

import pytest

from limpid.diffusion.samplers.interpolation import exponential_moments, lagrange_means


@pytest.mark.parametrize("rate", [-20.0, -1.0, 0.0, 1e-7, 3.0, 20.0])
def test_the_weights_are_exact_for_polynomials(rate: float):
    times = [0.0, -0.7, -1.1, 1.0]
    for power, moment in enumerate(exponential_moments(rate, 4).tolist()):
        found = sum(share * time**power for share, time in zip(lagrange_means(times, rate), times, strict=True))
        assert found == pytest.approx(moment, abs=1e-12)


def test_the_moments_are_those_of_an_exponential():
    for rate in (-4.0, 4.0):
        mean = 1 / -math.expm1(-rate) - 1 / rate
        assert exponential_moments(rate, 2).tolist() == pytest.approx([1, mean], abs=1e-14)
    assert exponential_moments(0.0, 3).tolist() == pytest.approx([1, 1 / 2, 1 / 3], abs=1e-14)
