import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from limpid.diffusion.denoiser import Denoiser, LogSigma, Timestep
from limpid.diffusion.level import Level, add_noise, eps_from
from limpid.diffusion.losses import denoising_loss
from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.schedules import Cosine, Karras, LinearBeta, LogNormal, Schedule, sampling_levels
from limpid.diffusion.targets import X0, Edm, Eps, Flow, Target, V, target

LAW = Gaussian(torch.tensor([0.4, -0.2]), torch.tensor([0.3, 0.7]))
TARGETS = [X0(), Eps(), V(), Flow(), Edm()]


class Perfect(nn.Module):
    """A network that answers its target exactly: it undoes the scaling of its input and asks the oracle."""

    def __init__(self, kind: Target, schedule: Schedule):
        super().__init__()
        self.kind, self.schedule = kind, schedule

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        ratio = (4 * c_noise.double()).exp()
        level = Level(torch.ones_like(ratio), ratio)
        x = x * torch.hypot(torch.tensor(0.5), ratio)[:, None].float()
        x0 = LAW(x, level)
        return target(self.kind, x0, eps_from(x0, x, level), level)


@pytest.mark.parametrize("kind", TARGETS, ids=str)
@pytest.mark.parametrize("schedule", [LinearBeta(), Karras()], ids=str)
def test_a_network_that_answers_its_target_is_the_exact_denoiser_on_every_path(kind: Target, schedule: Schedule):
    model = Denoiser(Perfect(kind, schedule), kind, LogSigma(), LogNormal())
    levels = schedule(torch.linspace(0.2, 0.9, 6, dtype=torch.float64))
    x = torch.randn(6, 2) * levels.sigma[:, None].float()
    assert_close(model(x, levels), LAW(x, levels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("schedule", [LinearBeta(), Cosine(T=200)], ids=str)
def test_the_network_is_conditioned_on_the_timestep_of_the_published_code(schedule: LinearBeta | Cosine):
    levels = sampling_levels(schedule, schedule.T)[:-1]
    t = Timestep(schedule.T).c_noise(levels, schedule)
    assert_close(t, torch.arange(schedule.T - 1, -1, -1, dtype=torch.float64), rtol=0, atol=1e-6)


def test_a_rescaled_timestep_runs_from_0_to_1000_in_quarters_where_there_are_4000():
    schedule = Cosine(T=4000)
    t = Timestep(4000, rescale_timesteps=True).c_noise(sampling_levels(schedule, 4000)[:-1], schedule)
    assert_close(t, torch.arange(3999, -1, -1, dtype=torch.float64) / 4, rtol=0, atol=1e-6)


def test_a_level_between_two_steps_gives_a_fraction():
    a, b = (LinearBeta()(torch.tensor([t / 1000], dtype=torch.float64)) for t in (500, 501))
    between = Level(torch.ones(1, dtype=torch.float64), (a.edm_sigma * b.edm_sigma).sqrt())
    assert_close(Timestep().c_noise(between, LinearBeta()), torch.tensor([499.5], dtype=torch.float64))


@pytest.mark.parametrize("condition", [Timestep(), LogSigma()], ids=str)
def test_the_conditioning_is_finite_at_both_ends(condition: Timestep | LogSigma):
    ends = Level(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert condition.c_noise(ends, LinearBeta()).isfinite().all()


class Recorder(nn.Module):
    """A network that remembers what it was given."""

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        self.x, self.c_noise = x, c_noise
        return torch.zeros_like(x)


def test_the_input_of_the_network_has_variance_one_at_every_level():
    net, levels = Recorder(), LogNormal()(torch.linspace(0.01, 0.99, 8, dtype=torch.float64))
    x0, eps = 0.5 * torch.randn(8, 50_000), torch.randn(8, 50_000)
    Denoiser(net, Edm(), LogSigma(0.5), LogNormal())(add_noise(x0, eps, levels), levels)
    assert_close(net.x.std(1), torch.ones(8), rtol=0.02, atol=0)


def test_the_loss_is_the_squared_error_of_the_noise():
    x0, eps = torch.randn(2, 4, 3, 8, 8)
    level = LinearBeta()(torch.tensor([0.1, 0.3, 0.6, 1.0]))
    loss = denoising_loss(Denoiser(Recorder(), Eps(), Timestep(), LinearBeta()), x0, eps, level)
    assert_close(loss, eps.square().mean((1, 2, 3)))
