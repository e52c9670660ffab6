import pytest
import torch
from torch.testing import assert_close

from limpid.diffusion.level import Level, add_noise
from limpid.diffusion.targets import X0, Edm, Eps, Flow, Target, V, abs_c_out, target, x0_from

TARGETS = [X0(), Eps(), V(), Flow(), Edm(), Edm(sigma_data=1.0)]
ANGLES = torch.linspace(0.05, 1.5, 16, dtype=torch.float64)
PATHS = {
    "variance preserving": Level(ANGLES.cos(), ANGLES.sin()),
    "variance exploding": Level(torch.ones_like(ANGLES), ANGLES.tan()),
    "straight": Level(1 - ANGLES / 1.6, ANGLES / 1.6),
}


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    x0, eps = torch.randn(2, 16, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x0, eps


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", TARGETS, ids=str)
def test_every_target_gives_back_x0_on_every_path(kind: Target, path: str, pair):
    (x0, eps), level = pair, PATHS[path]
    assert_close(x0_from(kind, target(kind, x0, eps, level), add_noise(x0, eps, level), level), x0)


@pytest.mark.parametrize("kind", TARGETS, ids=str)
def test_the_network_predicts_the_same_target_on_every_path(kind: Target, pair):
    circle = PATHS["variance preserving"]
    scaled = Level(3 * circle.alpha, 3 * circle.sigma)
    x0, eps = pair
    assert_close(target(kind, x0, eps, circle), target(kind, x0, eps, scaled))


@pytest.mark.parametrize("kind", TARGETS, ids=str)
def test_abs_c_out_is_the_change_of_x0_with_y(kind: Target, pair):
    (x0, eps), level = pair, PATHS["straight"]
    x, y = add_noise(x0, eps, level), target(kind, x0, eps, level)
    moved = (x0_from(kind, y + 1, x, level) - x0_from(kind, y, x, level)).abs()
    assert_close(moved, abs_c_out(kind, level)[:, None, None, None].expand_as(moved))


def test_the_edm_target_is_that_of_the_preconditioned_network(pair):
    x0, eps = pair
    level, s = PATHS["variance exploding"], 0.5
    sigma = level.sigma[:, None, None, None]
    c_skip, c_out = s**2 / (sigma**2 + s**2), sigma * s / (sigma**2 + s**2).sqrt()
    assert_close(target(Edm(s), x0, eps, level), (x0 - c_skip * (x0 + sigma * eps)) / c_out)


def test_the_edm_target_has_variance_one_at_every_level():
    x0, eps = torch.randn(2, 16, 100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = target(Edm(0.5), 0.5 * x0, eps, PATHS["straight"])
    assert_close(y.var(1), torch.ones(16, dtype=torch.float64), rtol=0.03, atol=0)


def test_v_is_the_derivative_of_x_by_its_angle_on_the_circle(pair):
    x0, eps = pair
    angles = ANGLES.clone().requires_grad_()
    x = add_noise(x0, eps, Level(angles.cos(), angles.sin()))
    level = PATHS["variance preserving"]
    (turning,) = torch.autograd.grad(x[:, 0, 0, 0].sum(), angles)
    assert_close(target(V(), x0, eps, level)[:, 0, 0, 0], turning)


@pytest.mark.parametrize("kind", TARGETS, ids=str)
def test_x0_in_float32_is_off_by_rounding_and_for_eps_by_sigma_over_alpha_times_that(kind: Target):
    ratio = torch.logspace(-4, 5, 16, dtype=torch.float64)
    x0, eps = torch.randn(2, 16, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for level in (Level(torch.ones_like(ratio), ratio), Level(torch.ones_like(ratio), ratio).to_vp()):
        x, y = add_noise(x0, eps, level).float(), target(kind, x0, eps, level).float()
        error = (x0_from(kind, y, x, level) - x0).abs().flatten(1).amax(1)
        allowed = ratio if kind == Eps() else torch.zeros_like(ratio)
        assert (error < 1e-6 * (1 + allowed)).all()
