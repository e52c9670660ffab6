"""Bits per dimension of images with pixels of 0 ... 255, scaled to x0 in [-1, 1], by a denoiser, in three ways.

`discrete_elbo` and `continuous_elbo` are upper bounds of -ln P(x0), where P is the probability of the pixels: a prior
term at the noisiest level, a term for each step, and a decoder term at the least noisy level. `ode_likelihood` is the
density of the probability-flow ODE at uniformly dequantized pixels: the mean of -ln(density x bin width) is an upper
bound too (Theis et al. 2016, section 3.1). All depend on the levels through sigma / alpha alone.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level, PerSample, add_noise, append_dims
from limpid.diffusion.samplers.dopri5 import dopri5_steps

BIN_WIDTH = 2 / 255
"""Width of the bin of a pixel value."""
DEQUANTIZATION_STD = BIN_WIDTH / math.sqrt(12)
"""Standard deviation of uniform dequantization, and so the best clean level for `ode_likelihood`."""


class Elbo(NamedTuple):
    """The terms of the variational bound of -ln P(x0) for each image, in nats."""

    prior: PerSample
    """KL(q(x_T | x0), N(0, 1)), L_T of the paper."""
    steps: Float[Tensor, "b k"]
    """A column for each sampled step, scaled so that the sum is an unbiased estimate of the sum over all steps:
    L_{t-1}."""
    decoder: PerSample
    """-ln P(x0 | x) at the last noisy level: L_0."""

    @property
    def nats(self) -> PerSample:
        """The bound itself: the sum of its terms."""
        return self.prior + self.steps.sum(1) + self.decoder


class OdeLikelihood(NamedTuple):
    """-ln(density x bin width) of each image under the probability-flow ODE, in nats."""

    nats: PerSample
    evaluations: int
    """Network evaluations of the solver (NFE)."""


class LevelTerm(NamedTuple):
    """The term of a step: `factor` times the squared error of x0 at `level`, plus `rest` for each dimension, in
    nats."""

    level: Level
    factor: PerSample
    rest: PerSample


LevelTerms: TypeAlias = Callable[[PerSample], LevelTerm]
FIRST_STEP = 0.1
"""The first step of the ODE solver, in ln sigma; the later ones follow from their errors."""


def bits_per_dimension(nats: Float[Tensor, "b *k"], x0: Batch) -> Float[Tensor, "b *k"]:
    """Nats per image as bits per dimension."""
    return nats / (x0[0].numel() * math.log(2))


@torch.no_grad()
def discrete_elbo(
    denoise: Denoise,
    x0: Batch,
    levels: Level,
    generator: torch.Generator,
    num_levels: int = 0,
    variance: Literal["small", "large"] = "small",
    decoder: float = 1.0,
) -> Elbo:
    """The bound of the ancestral chain down `levels`, which fall to sigma = 0 (Ho et al. 2020, eq. 5).

    The last step is the decoder's. Of those before it, `num_levels` are sampled for each image (0: all are evaluated);
    their `variance` is that of `Ancestral`. The decoder's standard deviation is `decoder` times the last sigma / alpha;
    1 is the paper's.
    """
    noisier, count = levels[:-1], len(levels) - 2

    def term_at(u: PerSample) -> LevelTerm:
        i = (u * count).long().clamp(max=count - 1)
        source, target = (Level(noisier.alpha[i + k], noisier.sigma[i + k]) for k in (0, 1))
        # The variance of p over that of q(x' | x, x0): 1, or beta / beta~.
        ratio = torch.ones_like(u) if variance == "small" else (source.to_vp().sigma / target.to_vp().sigma).square()
        factor, rest = (target.snr - source.snr) / (2 * ratio), (1 / ratio - 1 + ratio.log()) / 2
        return LevelTerm(source, count * factor, count * rest)

    steps = _sampled_terms(denoise, x0, term_at, min(num_levels or count, count), generator)
    return Elbo(_prior(x0, levels[0]), steps, _decoder_nll(denoise, x0, levels[-2], generator, decoder))


@torch.no_grad()
def continuous_elbo(
    denoise: Denoise,
    x0: Batch,
    noisy: Level,
    clean: Level,
    generator: torch.Generator,
    num_levels: int = 100,
    decoder: float = 1.0,
) -> Elbo:
    """The limit of infinitely many steps, 1/2 int |x0 - x0_hat|^2 d snr (Kingma et al. 2021, eq. 17 and 18).

    Each image has its own `num_levels` levels, stratified in log-SNR from `noisy` to `clean`; a `clean` sigma of about
    one bin width is best. The decoder is that of `discrete_elbo`, so this is the limit of that bound for many steps,
    and no dequantization is needed.
    """
    high, low = noisy.edm_sigma.log(), clean.edm_sigma.log()

    def term_at(u: PerSample) -> LevelTerm:
        ratio = torch.lerp(low.to(u), high.to(u), u).exp()
        # 1/2 d snr = snr d ln(alpha / sigma).
        return LevelTerm(Level(torch.ones_like(u), ratio), (high - low).to(u) / ratio.square(), torch.zeros_like(u))

    steps = _sampled_terms(denoise, x0, term_at, num_levels, generator)
    return Elbo(_prior(x0, noisy), steps, _decoder_nll(denoise, x0, clean, generator, decoder))


def _sampled_terms(
    denoise: Denoise, x0: Batch, term_at: LevelTerms, num_levels: int, generator: torch.Generator
) -> Float[Tensor, "b num_levels"]:
    """The terms at `num_levels` stratified u of each image, divided by that number: their sum estimates the
    integral."""
    terms = x0.new_zeros(len(x0), num_levels)
    for j in range(num_levels):
        within = torch.rand(len(x0), generator=generator, device=generator.device).cpu().double()
        term = term_at((j + within) / num_levels)
        x = add_noise(x0, _noise(x0, generator), term.level)
        error = (denoise(x, term.level) - x0).flatten(1).square().sum(1)
        total = append_dims(term.factor, error) * error + append_dims(term.rest, error) * x0[0].numel()
        terms[:, j] = total / num_levels
    return terms


def _prior(x0: Batch, noisy: Level) -> PerSample:
    """KL(q(x | x0), N(0, 1)) on the variance-preserving circle."""
    power = noisy.to_vp().alpha.square()
    return (append_dims(power, x0) * x0.square() - append_dims(power + torch.log1p(-power), x0)).flatten(1).sum(1) / 2


def _decoder_nll(denoise: Denoise, x0: Batch, clean: Level, generator: torch.Generator, scale: float) -> PerSample:
    """-ln P(x0 | x) for x at the level `clean`, by the decoder with the denoised image as its mean."""
    mean = denoise(add_noise(x0, _noise(x0, generator), clean), clean)
    return decoder_nats(x0, mean, scale * clean.edm_sigma)


def decoder_nats(x0: Batch, mean: Batch, std: Float[Tensor, "..."]) -> PerSample:
    """-ln of the probability of the bins of x0's pixels under N(mean, std^2); the outer bins are open (Ho et al. 2020,
    eq. 13)."""
    error, half = x0 - mean, BIN_WIDTH / 2
    left = torch.where(x0 < -1 + half, -math.inf, (error - half) / append_dims(std, x0))
    right = torch.where(x0 > 1 - half, math.inf, (error + half) / append_dims(std, x0))
    # Mirrored to the left tail, where the CDF is small and the difference of two values is exact.
    left, right = torch.where(left > 0, -right, left), torch.where(left > 0, -left, right)
    log_cdf_left, log_cdf_right = torch.special.log_ndtr(left), torch.special.log_ndtr(right)
    return -(log_cdf_right + torch.log(-torch.expm1(log_cdf_left - log_cdf_right))).flatten(1).sum(1)


def ode_likelihood(
    denoise: Denoise,
    x0: Batch,
    noisy: Level,
    clean: Level,
    generator: torch.Generator,
    tolerance: float = 1e-3,
    probes: int = 1,
) -> OdeLikelihood:
    """-ln(p(y) x bin) of pixels y dequantized uniformly, by the probability-flow ODE (Song et al. 2021, eq. 39).

    p is the density of the ODE at `clean`, from N(0, 1) at `noisy` on the variance-preserving circle. The trace of the
    Jacobian is Hutchinson's unbiased estimate by `probes` random sign vectors; 0 computes it exactly, with a backward
    pass for every dimension. `denoise` must be differentiable.

    The solver is that of `Dopri5`, with the relative and absolute `tolerance` for the worst image of the batch and for
    its ln p per dimension. Raises FloatingPointError if the output of `denoise` is not finite.
    """
    y = x0 + BIN_WIDTH * (torch.rand(x0.shape, generator=generator, device=generator.device).to(x0) - 0.5)
    size, signs = x0[0].numel(), _probes(x0, probes, generator)
    nfe = 0

    def slope(log_ratio: float, state: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """d(x, ln p per dimension) / d ln r on the variance-exploding path, where dx / d ln r = x - x0_hat."""
        nonlocal nfe
        nfe += 1
        x = torch.empty_like(x0).copy_(state[:, :-1].reshape(x0.shape))  # in the memory format of x0
        denoised, trace = _x0_and_trace(denoise, x, _level(log_ratio), signs)
        return torch.cat([(x - denoised).flatten(1), (trace / size - 1)[:, None]], 1)

    def error_ratio(error: Float[Tensor, "b n"], old: Float[Tensor, "b n"], new: Float[Tensor, "b n"]) -> float:
        """The largest error of an image over its tolerance: root mean square of x, and of ln p."""
        ratio = error / (tolerance + tolerance * torch.maximum(old.abs(), new.abs()))
        return torch.maximum(ratio[:, :-1].square().mean(1).sqrt(), ratio[:, -1].abs()).max().item()

    state = torch.cat([y.flatten(1), y.new_zeros(len(y), 1)], 1)
    span = clean.edm_sigma.log().item(), noisy.edm_sigma.log().item()
    *_, end = dopri5_steps(slope, state, span, FIRST_STEP, error_ratio)
    scale = torch.hypot(torch.ones_like(noisy.edm_sigma), noisy.edm_sigma)
    x = end.x[:, :-1].reshape(x0.shape) / append_dims(scale, x0)
    log_prior = -(x.square() / 2 + math.log(2 * math.pi) / 2 + scale.log().item()).flatten(1).sum(1)
    return OdeLikelihood(-(log_prior - size * end.x[:, -1]) - size * math.log(BIN_WIDTH), nfe)


def _level(log_ratio: float) -> Level:
    return Level(torch.ones((), dtype=torch.float64), torch.tensor(log_ratio, dtype=torch.float64).exp())


def _x0_and_trace(denoise: Denoise, x: Batch, level: Level, probes: Float[Tensor, "p b *d"]) -> tuple[Batch, PerSample]:
    """The denoised image, and the sum over probes of probe^T (d x0_hat / d x) probe."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        denoised = denoise(x, level)
        trace = x.new_zeros(len(x))
        for probe in probes:
            (pulled,) = torch.autograd.grad(denoised, x, probe, retain_graph=True)
            trace += (pulled * probe).flatten(1).sum(1)
    return denoised.detach(), trace


def _probes(x0: Batch, count: int, generator: torch.Generator) -> Float[Tensor, "p b *d"]:
    """Random sign vectors over sqrt(count), so that their sum is a mean; for a count of 0 all unit vectors."""
    if count == 0:
        axes = torch.eye(x0[0].numel(), dtype=x0.dtype, device=x0.device)
        return axes.reshape(-1, 1, *x0.shape[1:]).expand(-1, *x0.shape)
    bits = torch.randint(0, 2, (count, *x0.shape), generator=generator, device=generator.device)
    return (2 * bits - 1).to(x0) / math.sqrt(count)


def _noise(x0: Batch, generator: torch.Generator) -> Batch:
    return torch.randn(x0.shape, generator=generator, dtype=x0.dtype, device=generator.device).to(x0.device)
