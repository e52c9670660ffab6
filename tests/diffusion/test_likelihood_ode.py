"""The likelihood by the probability flow ODE is the density of Gaussians and mixtures."""

import math

import pytest
import torch
from gaussian_pixels import F64, NOISY, PURE, assert_within, at, images
from torch import Tensor
from torch.testing import assert_close

from limpid.diffusion.likelihood import (
    BIN_WIDTH,
    DEQUANTIZATION_STD,
    ode_likelihood,
)
from limpid.diffusion.oracle import Gaussian, Mixture
from limpid.runtime.rng import generator


def test_the_ode_gives_the_density_of_a_gaussian_exactly():
    x0 = images(200, axes=3)
    law = Gaussian(torch.tensor([0.1, 0.0, -0.2], dtype=F64), torch.tensor([0.2, 0.4, 0.1], dtype=F64))
    nats = ode_likelihood(law, x0, NOISY, at(DEQUANTIZATION_STD), generator("cpu", 7), tolerance=1e-8).nats
    y = x0 + BIN_WIDTH * (torch.rand(x0.shape, generator=generator("cpu", 7)).double() - 0.5)
    # The density that the ODE carries from its prior, which differs from the law's own at 80 by some (mean / 80) z.
    end, narrow = law.ode_solution(y, at(DEQUANTIZATION_STD), NOISY), torch.hypot(law.std, at(DEQUANTIZATION_STD).sigma)
    prior = torch.distributions.Normal(0.0, math.hypot(80, 1)).log_prob(end)
    carried = (prior + (torch.hypot(law.std, NOISY.sigma) / narrow).log()).sum(1)
    assert_close(nats, -carried - 3 * math.log(BIN_WIDTH), rtol=0, atol=1e-5)
    assert_close(nats, -law.log_density(y, at(DEQUANTIZATION_STD)) - 3 * math.log(BIN_WIDTH), rtol=0, atol=0.03)


PLANAR = Mixture(
    torch.tensor([0.4, 0.6], dtype=F64),
    (
        Gaussian(torch.tensor([-0.3, 0.3], dtype=F64), torch.tensor([0.2, 0.1], dtype=F64)),
        Gaussian(torch.tensor([0.4, 0.1], dtype=F64), torch.tensor([0.1, 0.3], dtype=F64)),
    ),
)


def test_the_ode_with_the_exact_trace_gives_the_density_of_a_mixture():
    x0 = 0.4 * torch.randn(40, 2, dtype=F64, generator=generator("cpu", 11))
    nats = ode_likelihood(PLANAR, x0, PURE, at(DEQUANTIZATION_STD), generator("cpu", 12), tolerance=1e-7, probes=0).nats
    y = x0 + BIN_WIDTH * (torch.rand(x0.shape, generator=generator("cpu", 12)).double() - 0.5)
    assert_close(nats, -PLANAR.log_density(y, at(DEQUANTIZATION_STD)) - 2 * math.log(BIN_WIDTH), rtol=0, atol=1e-3)


def test_hutchinsons_estimate_is_unbiased():
    one = torch.tensor([[0.1, 0.2]], dtype=F64)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=F64)
    level = at(0.3)
    jacobian = torch.func.jacrev(lambda x: PLANAR(x[None], level)[0])(one[0])
    assert abs(jacobian[0, 1]) > 0.05  # else any sign would give the trace
    # The mean over both kinds of pairs of signs is the trace itself.
    assert_close(torch.stack([sign @ jacobian @ sign for sign in signs]).mean(), jacobian.trace())
    many = one.expand(400, 2).contiguous()
    guesses = ode_likelihood(PLANAR, many, NOISY, at(DEQUANTIZATION_STD), generator("cpu", 13), 1e-5).nats
    exact = ode_likelihood(PLANAR, many, NOISY, at(DEQUANTIZATION_STD), generator("cpu", 13), 1e-5, probes=0).nats
    assert (guesses - exact).std() > 0.01
    assert_within(guesses, exact, slack=1e-3)


def test_the_ode_is_solved_as_torchdiffeq_solves_it():
    """ln p of the two dimensions and the noise x of a mixture, by torchdiffeq's own Dormand-Prince."""
    torchdiffeq = pytest.importorskip("torchdiffeq")
    x0 = 0.4 * torch.randn(40, 2, dtype=F64, generator=generator("cpu", 14))
    result = ode_likelihood(PLANAR, x0, NOISY, at(DEQUANTIZATION_STD), generator("cpu", 15), tolerance=1e-8, probes=0)
    y = x0 + BIN_WIDTH * (torch.rand(x0.shape, generator=generator("cpu", 15)).double() - 0.5)

    def slope(log_ratio: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        level = at(log_ratio.exp().item())
        jacobian = torch.func.vmap(torch.func.jacrev(lambda x: PLANAR(x[None], level)[0]))(state[0])
        return state[0] - PLANAR(state[0], level), jacobian.diagonal(dim1=1, dim2=2).sum(1) - 2

    span = torch.tensor([math.log(DEQUANTIZATION_STD), math.log(80)], dtype=F64)
    x, change = torchdiffeq.odeint(slope, (y, torch.zeros(40, dtype=F64)), span, rtol=1e-8, atol=1e-8, method="dopri5")
    scale = math.hypot(1, 80)
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(x[-1] / scale).sum(1) - 2 * math.log(scale)
    assert_close(result.nats, change[-1] - log_prior - 2 * math.log(BIN_WIDTH), rtol=0, atol=1e-5)
