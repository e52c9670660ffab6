import pytest
import torch
from torch.testing import assert_close

from limpid.diffusion.level_sampling import LossSecondMoment, UniformLevels, importance_sample, update_moments
from limpid.diffusion.schedules import stratified
from limpid.runtime.rng import generator

U = stratified(40_000, generator("cpu", 0))
MOMENTS = torch.tensor([1.0, 4.0, 16.0, 1.0, 0.25], dtype=torch.float64)


@pytest.mark.parametrize(
    "kind", [UniformLevels(), LossSecondMoment(bins=5), LossSecondMoment(bins=5, floor=0.5)], ids=str
)
def test_importance_weights_leave_every_mean_unbiased(kind: UniformLevels | LossSecondMoment):
    bent, rarity = importance_sample(U, kind.density(MOMENTS))
    assert_close((bent.square() * rarity).mean(), U.square().mean(), rtol=1e-4, atol=0)
    assert_close(rarity.mean(), torch.ones((), dtype=torch.float64), rtol=1e-3, atol=0)


def test_levels_are_sampled_in_proportion_to_the_root_of_their_moment():
    bent, _ = importance_sample(U, LossSecondMoment(bins=5, floor=0.0).density(MOMENTS))
    often = torch.histc(bent.float(), 5, 0, 1) / len(U)
    assert_close(often, (MOMENTS.sqrt() / MOMENTS.sqrt().sum()).float(), rtol=1e-3, atol=0)


def test_the_variance_of_the_loss_falls():
    loss = MOMENTS.sqrt()[(U * 5).long()]
    bent, rarity = importance_sample(U, LossSecondMoment(bins=5).density(MOMENTS))
    assert (MOMENTS.sqrt()[(bent * 5).long()] * rarity).var() < 1e-3 * loss.var()


def test_levels_are_uniform_until_every_bin_has_a_loss():
    unmet = torch.tensor([1.0, 0.0, 4.0], dtype=torch.float64)
    bent, rarity = importance_sample(U, LossSecondMoment(bins=3).density(unmet))
    assert_close(bent, U)
    assert_close(rarity, torch.ones_like(U))


def test_second_moments_are_those_of_the_losses_seen():
    moments = torch.zeros(4, dtype=torch.float64)
    for step in range(2_000):
        u = stratified(8, generator("cpu", step))
        update_moments(moments, u, 1 + (u * 4).long() + 0.1 * torch.randn(8, generator=generator("cpu", step, "loss")))
    assert_close(moments, torch.tensor([1.01, 4.01, 9.01, 16.01], dtype=torch.float64), rtol=0.05, atol=0)


def test_a_bin_without_a_loss_in_the_batch_keeps_its_moment():
    moments = torch.tensor([5.0, 7.0])
    update_moments(moments, torch.tensor([0.9]), torch.tensor([1.0]))
    assert moments[0] == 5
    assert_close(moments[1], torch.tensor(0.99 * 7 + 0.01))
