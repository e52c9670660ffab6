import pytest
import torch
from torch.testing import assert_close

from limpid.diffusion.level import Level, add_noise, eps_from
from limpid.diffusion.schedules import LinearBeta


def test_the_noise_of_a_noisy_x0_is_the_noise_that_was_added():
    x0, eps = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64)
    level = LinearBeta()(torch.linspace(0.1, 1, 5, dtype=torch.float64))
    assert_close(eps_from(x0, add_noise(x0, eps, level), level), eps)


@pytest.mark.parametrize("T", [10, 1000])
def test_the_forward_process_is_that_of_diffusers(T: int, diffusers):
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=T)
    draw = torch.Generator().manual_seed(T)
    x0, eps = torch.randn(2, 8, 3, 16, 16, generator=draw)
    t = torch.randint(0, T, (8,), generator=draw)
    noisy = add_noise(x0, eps, LinearBeta(T=T)((t + 1) / T))
    assert_close(noisy, scheduler.add_noise(x0, eps, t), atol=1e-5, rtol=0)


def test_each_sample_of_a_batch_is_at_its_own_level():
    x0, eps = torch.randn(2, 4, 1, 2, 2)
    levels = LinearBeta()(torch.tensor([0.1, 0.4, 0.7, 1.0]))
    together = add_noise(x0, eps, levels)
    for i in range(4):
        assert_close(together[i : i + 1], add_noise(x0[i : i + 1], eps[i : i + 1], levels[i]))


def test_a_level_of_no_noise_has_infinite_snr_and_one_of_no_signal_none():
    levels = Level(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert levels.logsnr.tolist() == [torch.inf, -torch.inf]
    assert levels.snr.tolist() == [torch.inf, 0]


def test_the_unit_level_is_on_the_circle_and_keeps_the_ratio():
    level = Level(torch.tensor([1.0, 3.0]), torch.tensor([80.0, 0.5]))
    circle = level.to_vp()
    assert_close(circle.alpha.square() + circle.sigma.square(), torch.ones(2))
    assert_close(circle.edm_sigma, level.edm_sigma)
