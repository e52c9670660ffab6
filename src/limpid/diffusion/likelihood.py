"""Bits per dimension, three ways, of a denoiser and pictures x0 in [-1, 1] that were pixels 0 ... 255.

`discrete_bound` and `continuous_bound` are upper bounds of -ln P(x0), P the probability of the pixels themselves: a
price for the noisiest level, one for each step down, and one for reading the pixels off the least noisy x. `flow` is
the density that the probability-flow ODE carries from the prior to the least noisy level, at uniformly dequantised
pixels: the mean of -ln(density x bin) is an upper bound too (Theis et al. 2016, section 3.1). Only
sigma / alpha counts.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level, PerSample, add_noise, append_dims

BIN_WIDTH = 2 / 255
"""The width of a pixel's bin."""
DEQUANTISED = BIN_WIDTH / math.sqrt(12)
"""The standard deviation of uniform dequantisation: where `flow` best begins, as p there has this noise in it."""


class Elbo(NamedTuple):
    """What each picture costs at most, in nats."""

    prior: PerSample
    """KL(q(x_T | x0), N(0, 1)), L_T of the paper."""
    steps: Float[Tensor, "b k"]
    """A column for each step that was drawn, scaled so that their sum is an unbiased guess of all steps'."""
    decoder: PerSample
    """The pixels, read off the last noisy x: L_0."""

    @property
    def nats(self) -> PerSample:
        """The bound itself: the sum of its terms."""
        return self.prior + self.steps.sum(1) + self.decoder


class OdeLikelihood(NamedTuple):
    """What each picture costs under the probability-flow ODE, in nats."""

    nats: PerSample
    evaluations: int
    """How often the solver asked the denoiser."""


class LevelTerm(NamedTuple):
    """What a step costs in a level: `factor` nats for each squared error, `rest` nats for each dimension."""

    level: Level
    factor: PerSample
    rest: PerSample


Prices: TypeAlias = Callable[[PerSample], LevelTerm]


def bits_per_dimension(nats: Float[Tensor, "b *k"], x0: Batch) -> Float[Tensor, "b *k"]:
    """Nats per picture as bits per dimension."""
    return nats / (x0[0].numel() * math.log(2))


@torch.no_grad()
def discrete_elbo(
    denoise: Denoise,
    x0: Batch,
    levels: Level,
    generator: torch.Generator,
    draws: int = 0,
    variance: Literal["small", "large"] = "small",
    decoder: float = 1.0,
) -> Elbo:
    """The bound of the ancestral chain down `levels`, which fall to sigma = 0 (Ho et al. 2020, eq. 5).

    The last step is the decoder's. Of those before it, `draws` are drawn for each picture, 0 is all of them; their
    `variance` is that of `Ancestral`. The decoder's standard deviation is `decoder` times the last sigma / alpha, by
    default the paper's beta_1.
    """
    noisier, count = levels[:-1], len(levels) - 2

    def prices(u: PerSample) -> LevelTerm:
        i = (u * count).long().clamp(max=count - 1)
        here, there = (Level(noisier.alpha[i + k], noisier.sigma[i + k]) for k in (0, 1))
        # The variance of p over that of q(x' | x, x0): 1, or beta / beta~.
        over = torch.ones_like(u) if variance == "small" else (here.to_vp().sigma / there.to_vp().sigma).square()
        return LevelTerm(here, count * (there.snr - here.snr) / (2 * over), count * (1 / over - 1 + over.log()) / 2)

    steps = _sampled_terms(denoise, x0, prices, min(draws or count, count), generator)
    return Elbo(_prior(x0, levels[0]), steps, _decoder_nll(denoise, x0, levels[-2], generator, decoder))


@torch.no_grad()
def continuous_elbo(
    denoise: Denoise,
    x0: Batch,
    noisy: Level,
    clean: Level,
    generator: torch.Generator,
    draws: int = 100,
    decoder: float = 1.0,
) -> Elbo:
    """The limit of infinitely many steps, 1/2 int |x0 - x0_hat|^2 d snr (Kingma et al. 2021, eq. 17 and 18).

    Each picture has its own `draws` levels, stratified in log-SNR from `noisy` to `clean`; `clean` is best about one
    bin wide. The pixels are read off there by the decoder of `discrete_bound`, so this is the bound that one comes
    down to as its steps grow in number, and no dequantisation is needed.
    """
    high, low = noisy.edm_sigma.log(), clean.edm_sigma.log()

    def prices(u: PerSample) -> LevelTerm:
        ratio = torch.lerp(low.to(u), high.to(u), u).exp()
        # 1/2 d snr = snr d ln(alpha / sigma).
        return LevelTerm(Level(torch.ones_like(u), ratio), (high - low).to(u) / ratio.square(), torch.zeros_like(u))

    steps = _sampled_terms(denoise, x0, prices, draws, generator)
    return Elbo(_prior(x0, noisy), steps, _decoder_nll(denoise, x0, clean, generator, decoder))


def _sampled_terms(
    denoise: Denoise, x0: Batch, prices: Prices, draws: int, generator: torch.Generator
) -> Float[Tensor, "b draws"]:
    """What the steps cost that `draws` stratified u of each picture fall upon; a sum over all u is their sum."""
    costs = x0.new_zeros(len(x0), draws)
    for j in range(draws):
        within = torch.rand(len(x0), generator=generator, device=generator.device).cpu().double()
        price = prices((j + within) / draws)
        x = add_noise(x0, _noise(x0, generator), price.level)
        error = (denoise(x, price.level) - x0).flatten(1).square().sum(1)
        costs[:, j] = (
            append_dims(price.factor, error) * error + append_dims(price.rest, error) * x0[0].numel()
        ) / draws
    return costs


def _prior(x0: Batch, noisy: Level) -> PerSample:
    """KL(q(x | x0), N(0, 1)) on the variance-preserving circle."""
    power = noisy.to_vp().alpha.square()
    return (append_dims(power, x0) * x0.square() - append_dims(power + torch.log1p(-power), x0)).flatten(1).sum(1) / 2


def _decoder_nll(denoise: Denoise, x0: Batch, clean: Level, generator: torch.Generator, share: float) -> PerSample:
    """-ln P(x0 | x) for x at the level `clean`, by the decoder around the denoised picture."""
    mean = denoise(add_noise(x0, _noise(x0, generator), clean), clean)
    return decoder_nats(x0, mean, share * clean.edm_sigma)


def decoder_nats(x0: Batch, mean: Batch, std: Float[Tensor, "..."]) -> PerSample:
    """-ln of what N(mean, std^2) gives to the bins of x0's pixels; the outer bins are open (Ho et al. 2020, eq. 13)."""
    away, half = x0 - mean, BIN_WIDTH / 2
    left = torch.where(x0 < -1 + half, -math.inf, (away - half) / append_dims(std, x0))
    right = torch.where(x0 > 1 - half, math.inf, (away + half) / append_dims(std, x0))
    # In the left tail a difference of two small numbers is exact, in the right one it is lost.
    left, right = torch.where(left > 0, -right, left), torch.where(left > 0, -left, right)
    far, near = torch.special.log_ndtr(left), torch.special.log_ndtr(right)
    return -(near + torch.log(-torch.expm1(far - near))).flatten(1).sum(1)


def ode_likelihood(
    denoise: Denoise,
    x0: Batch,
    noisy: Level,
    clean: Level,
    generator: torch.Generator,
    tolerance: float = 1e-3,
    probes: int = 1,
) -> OdeLikelihood:
    """-ln(p(y) x bin) of pixels y dequantised uniformly, by the probability-flow ODE (Song et al. 2021, eq. 39).

    p is the law that the ODE has at `clean`, N(0, 1) at `noisy` on the variance-preserving circle. The trace of the
    Jacobian is Hutchinson's guess by `probes` signs for each number, unbiased; 0 takes it exactly, at the price of a
    backward pass for every dimension. `denoise` must be differentiable. Raises ValueError without torchdiffeq.
    """
    y = x0 + BIN_WIDTH * (torch.rand(x0.shape, generator=generator, device=generator.device).to(x0) - 0.5)
    size, signs = x0[0].numel(), _probes(x0, probes, generator)
    asked = 0

    def slope(log_ratio: Float[Tensor, ""], state: tuple[Batch, PerSample]) -> tuple[Batch, PerSample]:
        """d(x, ln p per dimension) / d ln r on the variance-exploding path, where dx / d ln r = x - x0_hat."""
        nonlocal asked
        asked += 1
        level = Level(torch.ones_like(log_ratio), log_ratio.exp())
        guess, trace = _guess_and_trace(denoise, state[0], level, signs)
        return state[0] - guess, trace / size - 1

    span = torch.stack([clean.edm_sigma.log(), noisy.edm_sigma.log()]).to(x0)
    x, lost = _solver()(slope, (y, x0.new_zeros(len(x0))), span, rtol=tolerance, atol=tolerance, method="dopri5")
    scale = torch.hypot(torch.ones_like(noisy.edm_sigma), noisy.edm_sigma)
    x = x[-1] / append_dims(scale, x0)
    log_prior = -(x.square() / 2 + math.log(2 * math.pi) / 2 + scale.log().item()).flatten(1).sum(1)
    return OdeLikelihood(-(log_prior - size * lost[-1]) - size * math.log(BIN_WIDTH), asked)


def _guess_and_trace(
    denoise: Denoise, x: Batch, level: Level, probes: Float[Tensor, "p b *d"]
) -> tuple[Batch, PerSample]:
    """The denoised picture, and the sum over probes of probe^T (d x0_hat / d x) probe."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        guess = denoise(x, level)
        trace = x.new_zeros(len(x))
        for probe in probes:
            (pulled,) = torch.autograd.grad(guess, x, probe, retain_graph=True)
            trace += (pulled * probe).flatten(1).sum(1)
    return guess.detach(), trace


def _probes(x0: Batch, count: int, generator: torch.Generator) -> Float[Tensor, "p b *d"]:
    """Signs at random, scaled so that their sum is a mean; or for a count of 0 every axis, whose sum is the trace."""
    if count == 0:
        axes = torch.eye(x0[0].numel(), dtype=x0.dtype, device=x0.device)
        return axes.reshape(-1, 1, *x0.shape[1:]).expand(-1, *x0.shape)
    bits = torch.randint(0, 2, (count, *x0.shape), generator=generator, device=generator.device)
    return (2 * bits - 1).to(x0) / math.sqrt(count)


def _noise(x0: Batch, generator: torch.Generator) -> Batch:
    return torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=generator.device).to(x0.device)


def _solver() -> Callable[..., tuple[Tensor, Tensor]]:
    try:
        from torchdiffeq import odeint
    except ImportError:
        raise ValueError('the ODE likelihood needs torchdiffeq: pip install "limpid[likelihood]"') from None
    return cast(Callable[..., tuple[Tensor, Tensor]], odeint)
