"""Each way to bits per dimension meets the closed form on Gaussian data, and their order is that of the theory."""

import math
from itertools import pairwise

import pytest
import torch
from gaussian_pixels import (
    CHANCES,
    CLEAN,
    ENTROPY,
    F64,
    NOISY,
    PIXELS,
    PURE,
    SMOOTH,
    assert_within,
    at,
    chances,
    images,
)
from torch import Tensor
from torch.testing import assert_close

from limpid.diffusion.likelihood import (
    BIN_WIDTH,
    DEQUANTIZATION_STD,
    Elbo,
    bits_per_dimension,
    continuous_elbo,
    decoder_nats,
    discrete_elbo,
    ode_likelihood,
)
from limpid.diffusion.oracle import DataDistribution, EmpiricalData, Gaussian
from limpid.diffusion.schedules import Karras, LinearBeta, sampling_levels
from limpid.runtime.rng import generator

# The law of pixels itself, whose denoiser knows the grid that they lie on, and the Gaussian that it was cut from.
LATTICE = EmpiricalData(PIXELS, CHANCES.clamp(min=1e-300))


def squared_error(x0: Tensor, ratio: Tensor) -> Tensor:
    """E |x0 - x0_hat|^2 over the noise, for the Gaussian's denoiser: its shrinkage, and the noise it lets through."""
    variance = SMOOTH.std.square()
    signal = variance / (variance + ratio.square())
    return (1 - signal).square() * (x0 - SMOOTH.mean).square() + (signal * ratio).square()


def integral(x0: Tensor) -> Tensor:
    """1/2 int E |x0 - x0_hat|^2 d snr from 80 to a bin's width, for each of the few kinds of pixels once."""
    kinds, which = x0[:, 0].unique(return_inverse=True)
    log_ratio = torch.linspace(math.log(BIN_WIDTH), math.log(80), 2_001, dtype=F64)
    ratio = log_ratio.exp()[:, None]
    return torch.trapezoid(squared_error(kinds, ratio) / ratio.square(), log_ratio, dim=0)[which]


def test_the_decoder_gives_every_bin_its_share_of_the_gaussian():
    for mean, std in ((0.1, 0.2), (-0.99, 0.03), (1.3, 0.5)):
        means = torch.full_like(PIXELS, mean)
        nats = decoder_nats(PIXELS, means, torch.tensor(std, dtype=F64))
        assert_close((-nats).exp(), chances(mean, std), rtol=1e-9, atol=1e-15)
        assert (-nats).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_the_decoder_is_finite_however_far_it_is_off():
    x0, mean = torch.tensor([[-0.5], [0.5], [1.0], [-1.0]]), torch.tensor([[0.9], [-0.9], [-1.0], [1.0]])
    nats = decoder_nats(x0, mean, torch.tensor(0.002, dtype=F64))
    # A tail at z falls like exp(-z^2 / 2), and all else is small beside it.
    nearest = (x0 - mean).abs()[:, 0] - BIN_WIDTH / 2
    assert_close(nats, (nearest / 0.002).square() / 2, rtol=1e-3, atol=0)


def test_the_prior_is_the_divergence_of_torch():
    x0, levels = images(9, axes=3), sampling_levels(LinearBeta(), 1000)
    prior = discrete_elbo(SMOOTH, x0, levels, generator("cpu", 0), num_levels=1).prior
    mean, std = levels.alpha[0] * x0, levels.sigma[0]
    normal = torch.distributions.Normal
    unit = normal(torch.zeros((), dtype=F64), torch.ones((), dtype=F64))
    assert_close(prior, torch.distributions.kl_divergence(normal(mean, std), unit).sum(1), rtol=1e-8, atol=0)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_a_step_costs_the_divergence_of_its_two_gaussians(variance):
    """Posterior mean and variance from Ho et al. (2020), eq. 7, by its table of betas."""
    levels, x0 = sampling_levels(LinearBeta(T=40), 40), images(50, axes=3)
    x0_pred = torch.full_like(x0, 0.3)
    steps = discrete_elbo(lambda x, level: x0_pred, x0, levels, generator("cpu", 0), variance=variance).steps
    beta, bar = LinearBeta(T=40).betas(), levels.alpha.square().flip(0)
    for t in (2, 3, 20, 40):
        b, bar_t, bar_before = beta[t - 1], bar[t], bar[t - 1]
        small = (1 - bar_before) / (1 - bar_t) * b
        far = bar_before.sqrt() * b / (1 - bar_t) * (x0 - x0_pred)
        q = torch.distributions.Normal(far, small.sqrt())
        p = torch.distributions.Normal(torch.zeros_like(far), (small if variance == "small" else b).sqrt())
        assert_close(steps[:, 40 - t], torch.distributions.kl_divergence(q, p).sum(1))


def test_the_cost_of_steps_of_a_gaussian_follows_from_its_squared_error():
    x0, levels = images(4_000), sampling_levels(Karras(0.02), 12)
    steps = discrete_elbo(SMOOTH, x0, levels, generator("cpu", 1)).steps
    assert steps.shape == (4_000, 11)
    for i in range(11):
        expected = (levels[i + 1].snr - levels[i].snr) / 2 * squared_error(x0[:, 0], levels[i].edm_sigma)
        assert_within(steps[:, i], expected)


def test_a_few_steps_estimate_the_sum_over_all():
    x0, levels = images(4_000), sampling_levels(Karras(0.02), 60)
    few = discrete_elbo(SMOOTH, x0, levels, generator("cpu", 2), num_levels=7).nats
    all_steps = discrete_elbo(SMOOTH, x0, levels, generator("cpu", 3)).nats
    assert_within(few - all_steps, 0.0)


def test_the_continuous_bound_is_its_integral():
    x0 = images(4_000)
    steps = continuous_elbo(SMOOTH, x0, NOISY, CLEAN, generator("cpu", 4), num_levels=20).steps.sum(1)
    assert_within(steps, integral(x0))


@pytest.mark.parametrize("law", [SMOOTH, LATTICE], ids=["Gaussian", "pixels"])
def test_the_continuous_bound_of_the_exact_denoiser_is_the_entropy(law: DataDistribution):
    """At a bin's width of noise the grid of pixels no longer shows, so both denoisers are exact there.

    The slack: the decoder's bins are integrals where the posterior has points, which makes it wider by bin^2 / 12. Of
    a variance of bin^2 that costs (1 / 12 - ln(1 + 1 / 12)) / 2 = 0.0017 nats; and the prior's width adds 1e-4.
    """
    n, draws = (20_000, 20) if law is SMOOTH else (2_000, 10)
    bound = continuous_elbo(law, images(n), NOISY, CLEAN, generator("cpu", 5), draws)
    assert_within(bound.nats, ENTROPY, slack=0.003)


def test_the_discrete_bound_falls_to_the_continuous_bound_which_is_above_the_entropy():
    x0, gaps = images(20_000), []
    limit = integral(x0).mean()
    for steps in (40, 80, 160):
        levels = sampling_levels(Karras(BIN_WIDTH, 80.0, rho=50.0), steps)
        bound = discrete_elbo(SMOOTH, x0, levels, generator("cpu", 6), num_levels=20)
        gaps.append((bound.steps.sum(1).mean() - limit).item())
    # A Riemann sum from above: its gap falls like 1 / T. The draws have a standard error of 0.015, a tenth of the last.
    assert gaps[-1] > 0
    assert all(1.6 < a / b < 2.9 for a, b in pairwise(gaps))


def test_the_three_estimates_are_in_the_order_of_the_theory():
    """For the exact denoiser: the chain's bound, then its limit, then the ODE, which is the entropy itself."""
    x0 = images(20_000)
    chain = discrete_elbo(SMOOTH, x0, sampling_levels(Karras(BIN_WIDTH), 40), generator("cpu", 8)).nats.mean().item()
    limit = continuous_elbo(SMOOTH, x0, NOISY, CLEAN, generator("cpu", 8), num_levels=40).nats.mean().item()
    ode = (
        ode_likelihood(SMOOTH, x0, PURE, at(DEQUANTIZATION_STD), generator("cpu", 8), tolerance=1e-6).nats.mean().item()
    )
    # One standard error of a mean over 20,000 images and 40 levels is below 0.002.
    assert chain > limit + 0.05
    assert limit > ode - 0.005
    # 1 nat of the ODE's density is 1 nat of the bin, but for the bins' curvature, (bin / std)^2 / 24 = 6e-5, and for
    # the noise of bin^2 / 12 that is in the pixels, in their dequantisation and in the first level.
    assert ode == pytest.approx(ENTROPY, abs=2e-3)


@pytest.mark.parametrize(("mean", "std"), [(0.1, 0.4), (0.3, 0.2), (0.1, 0.12)])
def test_a_denoiser_of_another_law_pays_the_cross_entropy_at_least(mean: float, std: float):
    x0 = images(20_000)
    wrong = Gaussian(torch.tensor([mean], dtype=F64), torch.tensor([math.hypot(std, DEQUANTIZATION_STD)], dtype=F64))
    cross = -(CHANCES * chances(mean, std).clamp(min=1e-300).log()).sum().item()
    ode = (
        ode_likelihood(wrong, x0, PURE, at(DEQUANTIZATION_STD), generator("cpu", 9), tolerance=1e-6).nats.mean().item()
    )
    # Two noises of bin^2 / 12 are in x, one in the model: (bin / std)^2 / 24 = 2e-4 nats at most.
    assert ode == pytest.approx(cross, abs=2e-3)
    bound = continuous_elbo(wrong, x0, NOISY, CLEAN, generator("cpu", 9), num_levels=40).nats
    assert bound.mean() > ENTROPY + 4 * bound.std() / math.sqrt(len(bound))


def test_no_bound_is_below_the_entropy_whatever_the_denoiser():
    x0 = images(20_000)
    guesses = [lambda x, level: torch.zeros_like(x), lambda x, level: x / level.like(x).alpha, SMOOTH]
    for guess in guesses:
        bounds = [
            continuous_elbo(guess, x0, NOISY, CLEAN, generator("cpu", 10), num_levels=20),
            *(
                discrete_elbo(guess, x0, sampling_levels(Karras(0.02), 30), generator("cpu", 10), 10, variance)
                for variance in ("small", "large")
            ),
        ]
        for bound in bounds:
            assert bound.nats.mean() > ENTROPY - 4 * bound.nats.std() / math.sqrt(len(x0))


def test_a_uniform_guess_costs_eight_bits_per_dimension():
    x0 = torch.zeros(2, 3, 4, 4)
    assert_close(bits_per_dimension(torch.full((2,), 48 * math.log(256)), x0), torch.full((2,), 8.0))
    assert Elbo(torch.ones(2), torch.ones(2, 5), torch.ones(2)).nats.tolist() == [7, 7]
