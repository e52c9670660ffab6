"""Muon steps along orthogonal matrices, as long as a step of Adam, and leaves the rest to Adam."""

import pytest
import torch

from limpid.optim.muon import MuonOptimizer, newton_schulz


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (8, 8)])
def test_singular_values_become_about_one_and_singular_vectors_stay(shape: tuple[int, int]):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    (turned,) = newton_schulz([matrices * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)])
    found = u.mT @ turned @ v.mT
    values = found.diagonal(dim1=1, dim2=2)
    large = s > 0.05 * s.norm(dim=1, keepdim=True)
    assert ((values[large] > 0.6) & (values[large] < 1.3)).all()
    assert (found - torch.diag_embed(values)).abs().max() < 0.05


def after_one_step(weight: torch.Tensor, gradient: torch.Tensor, weight_decay: float = 0.0) -> torch.Tensor:
    weight = weight.clone().requires_grad_()
    weight.grad = gradient.clone()
    MuonOptimizer([weight], lr=0.1, betas=(0.9, 0.999), weight_decay=weight_decay, momentum=0.95).step()
    return weight.detach()


def test_a_step_is_as_long_as_one_of_adam_whatever_the_length_of_the_gradient():
    kernel, gradient = torch.zeros(32, 16, 3, 3), torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(1))
    step = after_one_step(kernel, gradient)
    assert step.square().mean().sqrt().item() == pytest.approx(0.1 * 0.2, rel=0.2)
    assert (step * gradient).sum() < 0
    torch.testing.assert_close(after_one_step(kernel, 1000 * gradient), step, rtol=0, atol=1e-3)


def test_weights_decay_as_in_adamw():
    kernel = torch.ones(4, 4)
    moved = after_one_step(kernel, torch.eye(4), weight_decay=0.5) - after_one_step(kernel, torch.eye(4))
    torch.testing.assert_close(moved, torch.full((4, 4), -0.1 * 0.5))


def test_parameters_that_are_not_matrices_are_updated_by_adam():
    bias, gradient = torch.ones(7), torch.randn(7, generator=torch.Generator().manual_seed(2))
    by_adam = bias.clone().requires_grad_()
    by_adam.grad = gradient.clone()
    torch.optim.AdamW([by_adam], lr=0.1, weight_decay=0.0, fused=True).step()
    assert torch.equal(after_one_step(bias, gradient), by_adam.detach())
