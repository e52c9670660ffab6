import math
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from limpid.diffusion.denoiser import Denoiser, LogSigma
from limpid.diffusion.level import add_noise
from limpid.diffusion.losses import (
    L1,
    ErrorNorm,
    Huber,
    PseudoHuber,
    SquaredError,
    UncertaintyWeighting,
    denoising_loss,
)
from limpid.diffusion.schedules import LinearBeta, LogNormal
from limpid.diffusion.targets import Eps, V, target
from limpid.diffusion.weightings import MinSnrWeight

# Each norm of the errors (3, -4, 0, 0.5), by hand.
CLOSED_FORM = {
    SquaredError(): (9 + 16 + 0.25) / 4,
    L1(): (3 + 4 + 0.5) / 4,
    Huber(): (2.5 + 3.5 + 0.125) / 4,
    Huber(3.5): (4.5 + 3.5 * (4 - 1.75) + 0.125) / 4,
    PseudoHuber(): math.sqrt(25.25 / 4 + 0.00054**2) - 0.00054,
    PseudoHuber(2.0): math.sqrt(25.25 / 4 + 4) - 2,
}


def test_every_norm_is_tested_here():
    assert {type(norm) for norm in CLOSED_FORM} == set(get_args(ErrorNorm))


@pytest.mark.parametrize("norm", CLOSED_FORM, ids=str)
def test_a_norm_has_its_closed_form(norm: ErrorNorm):
    error = torch.tensor([[[3.0, -4.0], [0.0, 0.5]]] * 2, dtype=torch.float64)
    assert_close(norm(error), torch.full((2,), CLOSED_FORM[norm], dtype=torch.float64))


@pytest.mark.parametrize("norm", CLOSED_FORM, ids=str)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-6, 1.0, 1e6])
def test_a_norm_of_any_error_is_finite_and_not_negative_and_so_is_its_gradient(norm: ErrorNorm, size: float):
    error = torch.full((2, 3, 4, 4), size).requires_grad_()
    loss = norm(error)
    loss.sum().backward()
    assert error.grad is not None
    assert loss.isfinite().all()
    assert error.grad.isfinite().all()
    assert (loss >= 0).all()


def test_the_pseudo_huber_is_that_of_the_paper_over_the_root_of_the_dimension():
    error = torch.randn(5, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    d = error[0].numel()
    c = 0.00054 * math.sqrt(d)  # 0.03 for CIFAR-10, as the paper rounds it
    assert c == pytest.approx(0.03, abs=1e-3)
    distance = (error.flatten(1).square().sum(1) + c**2).sqrt() - c
    assert_close(PseudoHuber()(error), distance / math.sqrt(d))


def test_a_wide_huber_is_half_of_the_squared_error_and_a_narrow_one_is_l1():
    error = torch.randn(5, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_close(Huber(100.0)(error), SquaredError()(error) / 2)
    assert_close(Huber(1e-9)(error) / 1e-9, L1()(error))
    assert_close(2 * 1e4 * PseudoHuber(1e4)(error), SquaredError()(error))


@pytest.mark.parametrize("kind", [Huber, PseudoHuber])
@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_a_norm_without_a_width_is_refused(kind: type[Huber] | type[PseudoHuber], width: float):
    with pytest.raises(ValueError, match=r"Huber .*: expected a finite number above 0"):
        kind(width)


class Zeros(nn.Module):
    """A network that predicts zeros."""

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("norm", CLOSED_FORM, ids=str)
def test_the_loss_is_the_norm_of_the_error_of_the_target_times_the_weight_of_the_level(norm: ErrorNorm):
    x0, eps = torch.randn(2, 4, 3, 8, 8)
    level = LinearBeta()(torch.tensor([0.1, 0.3, 0.6, 1.0], dtype=torch.float64))
    model = Denoiser(Zeros(), V(), LogSigma(), LinearBeta())
    expected = norm(target(V(), x0, eps, level)) * MinSnrWeight()(V(), level).float()
    assert torch.equal(denoising_loss(model, x0, eps, level, weight=MinSnrWeight(), error_norm=norm), expected)


def test_the_default_loss_has_the_bits_of_the_mean_of_squares():
    x0, eps = torch.randn(2, 4, 3, 8, 8)
    level = LinearBeta()(torch.tensor([0.1, 0.3, 0.6, 1.0], dtype=torch.float64))
    model = Denoiser(nn.Identity(), Eps(), LogSigma(), LinearBeta())
    model.net.forward = lambda x, c_noise, labels: x  # pyright: ignore[reportAttributeAccessIssue]
    y = model.predict(add_noise(x0, eps, level), level)
    assert torch.equal(denoising_loss(model, x0, eps, level), (y - eps).square().flatten(1).mean(1))


def test_learnt_uncertainty_becomes_the_loss_of_each_level():
    levels = LogNormal()(torch.linspace(0.01, 0.99, 64, dtype=torch.float64))
    loss = (0.2 + levels.sigma.clamp(max=3)).float()
    torch.manual_seed(0)
    uncertainty = UncertaintyWeighting()
    optimizer = torch.optim.Adam(uncertainty.parameters(), lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        uncertainty.weighted_loss(loss, levels).mean().backward()
        optimizer.step()
    assert_close(uncertainty(levels).exp(), loss, rtol=0.1, atol=0)
