"""The other tests rely on the oracles: they are checked against integrals, gradients and each other."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.diffusion.guidance import Guidance, guide_away_from
from limpid.diffusion.level import Level
from limpid.diffusion.oracle import DataDistribution, EmpiricalData, Gaussian, Mixture, effective_number
from limpid.diffusion.samplers import Heun
from limpid.runtime.rng import generator

F64 = torch.float64
CLEAN = Level(torch.ones((), dtype=F64), torch.zeros((), dtype=F64))
# Levels on the circle, beyond it, and on the straight path.
LEVELS = [(0.8, 0.6), (1.0, 3.0), (0.7, 0.3)]


def level(alpha: float, sigma: float) -> Level:
    return Level(torch.tensor(alpha, dtype=F64), torch.tensor(sigma, dtype=F64))


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def gaussian(mean: float, std: float, axes: int = 1) -> Gaussian:
    return Gaussian(numbers(mean).expand(axes), numbers(std).expand(axes))


MIXTURE = Mixture(numbers(3.0, 1.0), (gaussian(-0.5, 0.2), gaussian(0.7, 0.4)))
NESTED = Mixture(numbers(0.5, 0.5), (MIXTURE, gaussian(0.1, 0.05)))
POINTS = EmpiricalData(numbers(-1.0, 0.2, 0.5)[:, None], numbers(1.0, 2.0, 5.0))
PLANAR = Mixture(
    numbers(0.3, 0.7),
    (
        Gaussian(numbers(-0.5, 0.4), numbers(0.2, 0.5)),
        Mixture(numbers(1.0, 1.0), (gaussian(0.6, 0.3, 2), EmpiricalData(torch.zeros(1, 2, dtype=F64)))),
    ),
)
LAWS = {"gaussian": gaussian(0.3, 0.5), "mixture": MIXTURE, "nested": NESTED, "points": POINTS, "planar": PLANAR}


@pytest.mark.parametrize("point", LEVELS, ids=str)
@pytest.mark.parametrize("name", ["gaussian", "mixture", "nested"])
def test_denoiser_and_density_are_the_integrals_of_bayes_rule(name: str, point: tuple[float, float]):
    law, noise_level = LAWS[name], level(*point)
    x0 = torch.linspace(-4, 4, 20_001, dtype=F64)
    prior = law.log_density(x0[:, None], CLEAN).exp()
    x = torch.linspace(-2, 2, 9, dtype=F64)
    noise = torch.distributions.Normal(noise_level.alpha * x0, noise_level.sigma).log_prob(x[:, None]).exp()
    evidence = torch.trapezoid(prior * noise, x0)
    expected = torch.trapezoid(x0 * prior * noise, x0) / evidence
    assert_close(law.log_density(x[:, None], noise_level).exp(), evidence, rtol=1e-9, atol=1e-12)
    assert_close(law(x[:, None], noise_level)[:, 0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("point", LEVELS, ids=str)
@pytest.mark.parametrize("name", LAWS)
def test_the_denoised_x0_is_given_by_the_score(name: str, point: tuple[float, float]):
    """Tweedie's formula: alpha E[x0 | x] = x + sigma^2 d ln p / dx."""
    law, noise_level = LAWS[name], level(*point)
    axes = 2 if name == "planar" else 1
    x = torch.randn(6, axes, dtype=F64, generator=generator("cpu", 1)).requires_grad_()
    (score,) = torch.autograd.grad(law.log_density(x, noise_level).sum(), x)
    assert_close(noise_level.alpha * law(x, noise_level), x + noise_level.sigma.square() * score)


@pytest.mark.parametrize("name", LAWS)
def test_each_sample_is_at_its_own_level(name: str):
    law, axes = LAWS[name], 2 if name == "planar" else 1
    alpha, sigma = (numbers(*column) for column in zip(*LEVELS, strict=True))
    x = torch.randn(3, axes, dtype=F64, generator=generator("cpu", 2))
    for i, point in enumerate(LEVELS):
        one = x[i : i + 1]
        assert_close(law(x, Level(alpha, sigma))[i : i + 1], law(one, level(*point)))
        assert_close(law.log_density(x, Level(alpha, sigma))[i : i + 1], law.log_density(one, level(*point)))


@pytest.mark.parametrize("point", LEVELS, ids=str)
def test_points_are_a_mixture_of_gaussians_without_width(point: tuple[float, float]):
    assert POINTS.weights is not None
    parts = tuple(Gaussian(at, torch.zeros(1, dtype=F64)) for at in POINTS.points)
    x, same = torch.linspace(-2, 2, 7, dtype=F64)[:, None], Mixture(POINTS.weights, parts)
    assert_close(POINTS(x, level(*point)), same(x, level(*point)))
    assert_close(POINTS.log_density(x, level(*point)), same.log_density(x, level(*point)))


def test_points_without_weights_weigh_the_same():
    x, noise_level = torch.randn(5, 1, dtype=F64), level(1.0, 0.5)
    even = EmpiricalData(POINTS.points, numbers(2.0, 2.0, 2.0))
    assert_close(EmpiricalData(POINTS.points)(x, noise_level), even(x, noise_level))
    assert_close(EmpiricalData(POINTS.points).log_density(x, noise_level), even.log_density(x, noise_level))


def test_conditioned_on_a_class_the_denoiser_is_that_of_its_part():
    x, noise_level, labels = torch.randn(4, 1, dtype=F64), level(1.0, 0.5), torch.tensor([0, 1, 1, 0])
    denoised = MIXTURE.conditional(x, noise_level, labels)
    for i, label in enumerate(labels):
        assert_close(denoised[i], MIXTURE.parts[label](x[i : i + 1], noise_level)[0])


def test_without_a_class_the_denoiser_is_the_posterior_mean_over_classes():
    x, noise_level = torch.linspace(-2, 2, 5, dtype=F64)[:, None], level(1.0, 0.5)
    joint = torch.stack(
        [w * part.log_density(x, noise_level).exp() for w, part in zip((3, 1), MIXTURE.parts, strict=True)]
    )
    classes = [MIXTURE.conditional(x, noise_level, torch.full((5,), k)) for k in (0, 1)]
    expected = (joint[0, :, None] * classes[0] + joint[1, :, None] * classes[1]) / joint.sum(0)[:, None]
    assert_close(MIXTURE(x, noise_level), expected)


# Guidance of two known laws.

SCALES = [0.5, 1.0, 1.5, 3.0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("main", [MIXTURE, gaussian(0.4, 0.2)], ids=["mixture", "gaussian"])
def test_guidance_denoises_the_tilted_law_of_each_level(main: DataDistribution, scale: float):
    """By Tweedie's formula it follows the score of p_main^s / p_guide^(s - 1), both noised to that level."""
    guide = gaussian(-0.1, 0.8)
    x, noise_level = torch.linspace(-2, 2, 9, dtype=F64)[:, None].requires_grad_(), level(0.8, 0.6)
    tilted = scale * main.log_density(x, noise_level) - (scale - 1) * guide.log_density(x, noise_level)
    (score,) = torch.autograd.grad(tilted.sum(), x)
    expected = (x + noise_level.sigma.square() * score) / noise_level.alpha
    assert_close(guide_away_from(main, guide, Guidance(scale))(x, noise_level), expected)


@pytest.mark.parametrize("scale", SCALES)
def test_guidance_of_two_gaussians_of_one_width_is_a_gaussian_further_on(scale: float):
    main, guide = gaussian(0.4, 0.3), gaussian(-0.1, 0.3)
    further = gaussian(-0.1 + scale * 0.5, 0.3)
    x = torch.linspace(-2, 2, 9, dtype=F64)[:, None]
    for point in LEVELS:
        assert_close(guide_away_from(main, guide, Guidance(scale))(x, level(*point)), further(x, level(*point)))


@pytest.mark.parametrize("scale", SCALES)
def test_guidance_of_two_gaussians_of_one_mean_ends_where_its_equation_does(scale: float):
    """dx / d ln r = r^2 (s / v_m - (s - 1) / v_g) (x - m), v = std^2 + r^2, whose solution is a product of powers.

    The samples thus do not have the tilted law of the data, whose variance is 1 / (s / std_m^2 - (s - 1) / std_g^2).
    """
    main, guide, mean = gaussian(0.1, 0.3), gaussian(0.1, 0.7), 0.1
    ratio = torch.linspace(math.log(20), math.log(0.01), 801, dtype=F64).exp()
    levels = Level(torch.ones_like(ratio), ratio)
    start = numbers(-15.0, 3.0, 22.0)[:, None]

    def silent() -> Tensor:
        raise AssertionError("Heun's method drew noise")

    *_, end = Heun()(guide_away_from(main, guide, Guidance(scale)), start, levels, silent)
    spread = {std: math.hypot(std, 0.01) / math.hypot(std, 20) for std in (0.3, 0.7)}
    expected = mean + spread[0.3] ** scale * spread[0.7] ** (1 - scale) * (start - mean)
    # 800 steps of a method of order two: the error is about 1e-4 of the way.
    assert_close(end.x, expected, rtol=5e-4, atol=1e-4)


def test_the_posterior_mean_weighs_all_points_in_pure_noise_and_one_point_near_the_data():
    points = EmpiricalData(numbers(-1.0, 0.2, 0.5)[:, None])
    x = numbers(0.2)[:, None]
    assert_close(effective_number(points.posterior(x, level(0.0, 1.0))), numbers(3.0))
    assert_close(effective_number(points.posterior(x, level(1.0, 0.01))), numbers(1.0))
