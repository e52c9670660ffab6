"""Editing on exact denoisers, where what a perfect network would do is known."""

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.testing import assert_close
from typecheck import unchecked

from limpid.diffusion.editing import Solver, from_strength, inpaint, interpolate, invert, renoise, sdedit, slerp
from limpid.diffusion.level import Batch, Level, add_noise
from limpid.diffusion.oracle import EmpiricalData, Gaussian
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP, Heun, Sampler
from limpid.diffusion.samplers.steps import Noise, SamplerStep
from limpid.diffusion.schedules import Cosine, Karras, LinearBeta, Schedule, sampling_levels
from limpid.runtime.rng import generator

LAW = Gaussian(torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64))
SCHEDULES = [LinearBeta(), Cosine(), Karras()]
CLEAN = Level(torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64))


def last(steps) -> SamplerStep:
    *_, end = steps
    return end


def noise_like(x: Tensor, seed: int = 0) -> Noise:
    draw = generator("cpu", seed)
    return lambda: torch.randn(x.shape, generator=draw).to(x.dtype)  # in float32 they take a fifth of the time


@dataclass(frozen=True, eq=False)
class Correlated:
    """Data x0 ~ N(mean, covariance), whose coordinates tell of one another: something to inpaint from."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]

    def __call__(self, x: Batch, level: Level) -> Batch:
        """E[x0 | x] = mean + alpha C (alpha^2 C + sigma^2)^-1 (x - alpha mean)."""
        alpha, sigma = level.alpha, level.sigma
        total = alpha**2 * self.covariance + sigma**2 * torch.eye(len(self.mean), dtype=x.dtype)
        return self.mean + (x - alpha * self.mean) @ torch.linalg.solve(total, alpha * self.covariance)

    def given(self, known: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of what is in the hole, if the rest is `known`."""
        c = self.covariance
        gain = torch.linalg.solve(c[~hole][:, ~hole], c[~hole][:, hole]).T
        return self.mean[hole] + gain @ (known - self.mean)[~hole], c[hole][:, hole] - gain @ c[~hole][:, hole]


COVARIANCE = torch.tensor([[1.0, 0.8, 0.3], [0.8, 1.0, 0.5], [0.3, 0.5, 0.6]], dtype=torch.float64)
JOINT = Correlated(torch.tensor([0.2, -0.1, 0.4], dtype=torch.float64), COVARIANCE)
KNOWN = torch.tensor([[1.7, 0.0, -0.6]], dtype=torch.float64)
HOLE = torch.tensor([False, True, False])


def painted(schedule: Schedule, resample: int, n: int, steps: int = 30) -> Tensor:
    """n fillings of the hole."""
    known = KNOWN.expand(n, 3)
    noise, levels = noise_like(known), sampling_levels(schedule, steps)
    return last(inpaint(JOINT, levels[0].sigma * noise(), levels, noise, known, HOLE, resample)).x


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_known_pixels_stay_to_the_bit(schedule: Schedule):
    x = painted(schedule, 2, 50)
    assert torch.equal(x[:, ~HOLE], KNOWN[:, ~HOLE].expand(50, 2))
    assert x[:, HOLE].std() > 0.1


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@unchecked()
def test_the_hole_is_filled_by_the_conditional_law(schedule: Schedule):
    """The mean within four standard errors of 4,000 draws, and 0.03 standard deviations of the steps' own error.

    The spread comes out too narrow, by 18% in 30 steps: the noise of an ancestral step leaves out what it does not know
    of the image, an error of first order that every repetition makes anew. So it shrinks with the steps.
    """
    n, (mean, variance) = 4_000, JOINT.given(KNOWN[0], HOLE)
    std, narrow = variance.sqrt().item(), []
    for steps in (30, 120):
        samples = painted(schedule, 20, n, steps)[:, HOLE]
        assert abs(samples.mean() - mean).item() < std * (4 / math.sqrt(n) + 0.03)
        narrow.append(1 - samples.std().item() / std)
    # The standard error of a spread is 0.011; the schedules of 1000 steps bunch their levels, and gain less.
    assert 0 < narrow[1] < narrow[0] - 0.02
    assert narrow[0] < 0.25


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_repeating_steps_makes_the_hole_agree_with_its_surroundings(schedule: Schedule):
    """All is linear here, so without noise the mean itself is computed: no chance is left in the comparison."""
    levels, mean = sampling_levels(schedule, 30), JOINT.given(KNOWN[0], HOLE)[0]

    def error(resample: int) -> float:
        zero = torch.zeros_like(KNOWN)
        x = last(inpaint(JOINT, zero, levels, lambda: zero, KNOWN, HOLE, resample)).x
        return (x[0, HOLE] - mean).abs().item()

    errors = [error(resample) for resample in (1, 2, 5, 20)]
    assert all(b < 0.8 * a for a, b in pairwise(errors)), errors


def test_a_hole_without_surroundings_is_sampling():
    """The moments of the samples do not depend on the order in which noise is generated for the known part."""
    everything, known = torch.ones(3, dtype=torch.bool), torch.full((4_000, 3), 5.0, dtype=torch.float64)
    noise, levels = noise_like(known), sampling_levels(Cosine(), 60)
    x = last(inpaint(JOINT, levels[0].sigma * noise(), levels, noise, known, everything)).x
    assert_close(x.mean(0), JOINT.mean, rtol=0, atol=4 / math.sqrt(4_000) + 0.01)
    assert_close(x.T.cov(), COVARIANCE, rtol=0, atol=8 / math.sqrt(4_000))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_adding_noise_again_is_the_forward_process(schedule: Schedule):
    """x_s noised on to level t has the alpha and sigma of t: k alpha_s = alpha_t, and the variances add up."""
    levels = sampling_levels(schedule, 10)
    x0, eps = torch.full((1, 3), 0.7, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    for source, target in ((levels[6], levels[5]), (levels[10], levels[4]), (levels[9], levels[0])):
        signal = renoise(add_noise(x0, 0 * eps, source), source, target, lambda: 0 * eps)
        old = renoise(add_noise(0 * x0, eps, source), source, target, lambda: 0 * eps)
        new = renoise(0 * x0, source, target, lambda: eps)
        assert_close(signal, add_noise(x0, 0 * eps, target))
        assert_close(old.square() + new.square(), target.sigma.square() * eps)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_strength_cuts_a_grid_at_its_share_of_the_noise(schedule: Schedule):
    levels = sampling_levels(schedule, 200)
    assert torch.equal(from_strength(levels, 1.0).sigma, levels.sigma)
    assert from_strength(levels, 0.0).sigma.tolist() == [0.0]
    assert from_strength(levels, 0.5)[0].edm_sigma.item() == pytest.approx(1, abs=0.1)
    lengths = [len(from_strength(levels, strength)) for strength in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("sampler", [Ancestral(), Ddim(), Heun(churn=5), DpmSolverPP()], ids=str)
def test_strength_0_returns_the_image_and_strength_1_forgets_it(sampler: Sampler, schedule: Schedule):
    x0, levels = torch.tensor([[3.0, -3.0]], dtype=torch.float64), sampling_levels(schedule, 30)
    assert torch.equal(last(sdedit(sampler, LAW, x0, from_strength(levels, 0.0), noise_like(x0))).x, x0)
    this, other = (last(sdedit(sampler, LAW, s * x0, from_strength(levels, 1.0), noise_like(x0))).x for s in (1, -1))
    # What is left of the image is alpha / sigma of the noisiest level, at most 1/80, times the spread of the data.
    assert (this - other).abs().max() < 6 / 80


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.8])
def test_a_variation_is_sampled_from_the_posterior_of_the_noisy_image(strength: float):
    """The posterior of a Gaussian is known: its mean keeps the share alpha^2 s^2 / (alpha^2 s^2 + sigma^2) of x0."""
    n, levels = 4_000, from_strength(sampling_levels(Cosine(), 200), strength)
    x0 = torch.tensor([[0.9, 0.9]], dtype=torch.float64).expand(n, 2)
    samples = last(sdedit(Ancestral(), LAW, x0, levels, noise_like(x0))).x
    signal = (levels[0].alpha * LAW.std).square()
    share = signal / (signal + levels[0].sigma.square())
    expected = LAW.mean + share * (x0[0] - LAW.mean)
    # Four standard errors, and the first-order error of up to 200 steps.
    assert ((samples.mean(0) - expected).abs() < LAW.std * (4 / math.sqrt(n) + 0.02)).all()


FINE = [sampling_levels(Karras(sigma_min=1e-4, sigma_max=20.0, rho=9.0), steps) for steps in (40, 80, 160)]


@pytest.mark.parametrize("frame", ["variance exploding", "variance preserving"])
@pytest.mark.parametrize(("sampler", "order"), [(Ddim(), 1), (Heun(), 2), (DpmSolverPP(), 2)], ids=str)
def test_inversion_goes_where_the_ode_does_with_the_order_of_its_solver(sampler: Solver, order: int, frame: str):
    x0 = torch.tensor([[1.0, -2.0], [0.3, 0.9]], dtype=torch.float64)
    errors, returned = [], []
    for levels in FINE:
        levels = levels.to_vp() if frame == "variance preserving" else levels
        top = last(invert(sampler, LAW, x0, levels))
        error = (top.x - LAW.ode_solution(x0, CLEAN, levels[0])) / top.level.sigma
        errors.append(error.abs().max().item())
        returned.append((last(sampler(LAW, top.x, levels, noise_like(x0))).x - x0).abs().max().item())
    assert math.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.3), errors
    assert all(math.log2(a / b) > order - 0.3 for a, b in pairwise(returned)), returned


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_inversion_and_sampling_return_the_image(schedule: Schedule):
    """To what the lowest level blurs: x0 is taken for an x of level sigma, and sigma is at most 0.05 here."""
    x0, levels = torch.tensor([[1.0, -1.0], [0.3, 0.6]], dtype=torch.float64), sampling_levels(schedule, 100)
    top = last(invert(Heun(), LAW, x0, levels))
    assert_close(last(Heun()(LAW, top.x, levels, noise_like(x0))).x, x0, rtol=0, atol=0.02)


def test_one_level_is_its_own_inversion():
    x0, levels = torch.ones(2, 2, dtype=torch.float64), sampling_levels(Karras(), 1)
    assert torch.equal(last(invert(Ddim(), LAW, x0, levels)).x, x0)


@pytest.mark.parametrize("sampler", [Ddim(1.0), Heun(churn=5)], ids=str)
def test_a_sampler_that_adds_noise_cannot_invert(sampler: Solver):
    ends, t = torch.randn(2, 2, dtype=torch.float64), torch.tensor([0.5])
    with pytest.raises(ValueError, match="this sampler adds noise"):
        last(interpolate(sampler, LAW, ends, t, sampling_levels(Karras(), 20)))


def test_slerp_keeps_the_norm_and_ends_in_its_ends():
    a, b = torch.randn(2, 1, 3, 4, 4, dtype=torch.float64, generator=generator("cpu", 2))
    b = b * a.norm() / b.norm()
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    between = slerp(a.expand(9, 3, 4, 4), b.expand(9, 3, 4, 4), t)
    assert_close(between.flatten(1).norm(dim=1), a.norm().expand(9))
    assert_close(between[[0, -1]], torch.cat([a, b]))
    steps = (between[1:] - between[:-1]).flatten(1).norm(dim=1)
    assert_close(steps, steps[:1].expand(8))


def test_slerp_of_noise_is_noise():
    """The variance of 48,000 numbers, within five of its standard errors; the straight line's middle has half."""
    a, b = torch.randn(2, 1000, 48, generator=generator("cpu", 4))
    for t in (0.25, 0.5, 0.9):
        assert slerp(a, b, torch.full((1000,), t)).var().item() == pytest.approx(1, abs=5 * math.sqrt(2 / 48_000))
    assert ((a + b) / 2).var().item() == pytest.approx(0.5, abs=0.02)


def test_slerp_between_a_noise_and_itself_stays_there():
    for scale in (1.0, 1 + 1e-12, 3.0):
        a = torch.randn(5, 7, dtype=torch.float64)
        t = torch.linspace(0, 1, 5, dtype=torch.float64)
        assert_close(slerp(a, scale * a, t), a * (1 + t * (scale - 1))[:, None])


def test_interpolated_samples_are_the_quantiles_between_those_of_the_ends():
    """Of a one-dimensional Gaussian the noise is the quantile; two noises of one sign lie on one line."""
    law = Gaussian(torch.tensor([0.4], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64))
    ends, t = torch.tensor([[0.6], [1.4]], dtype=torch.float64), torch.linspace(0, 1, 5, dtype=torch.float64)
    x = last(interpolate(Heun(), law, ends, t, sampling_levels(Karras(), 100))).x
    assert_close(x[:, 0], torch.lerp(ends[0], ends[1], t), rtol=0, atol=1e-3)


def test_interpolation_between_images_of_a_data_set_visits_only_its_images():
    points = torch.randn(6, 3, 2, 2, dtype=torch.float64, generator=generator("cpu", 5))
    t = torch.linspace(0, 1, 7, dtype=torch.float64)
    x = last(interpolate(Ddim(), EmpiricalData(points), points[:2], t, sampling_levels(Karras(), 80))).x
    nearest = (x[:, None] - points[None]).flatten(2).norm(dim=2).min(1)
    assert nearest.values.max() < 1e-3
    assert nearest.indices[[0, -1]].tolist() == [0, 1]
