import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from limpid.diffusion.denoiser import Denoiser, DenoiserWithVariance, Timestep
from limpid.diffusion.guidance import Guidance, classifier_free, clip_x0
from limpid.diffusion.learned_variance import posterior_bounds, vlb_loss
from limpid.diffusion.level import Level
from limpid.diffusion.likelihood import decoder_nats
from limpid.diffusion.losses import denoising_loss
from limpid.diffusion.samplers.singlestep import Ancestral
from limpid.diffusion.schedules import Cosine, LinearBeta, RectifiedFlow, sampling_levels
from limpid.diffusion.targets import Eps
from limpid.runtime.rng import generator

T = 1000
U = torch.tensor([0.002, 0.3, 0.7, 1.0], dtype=torch.float64)
SHAPE = (4, 3, 4, 4)


def draw(*address: int) -> Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=generator("cpu", *address))


def test_the_two_variances_are_beta_and_beta_tilde():
    step, t = posterior_bounds(LinearBeta(T), U), (U * T).round().long()
    betas = LinearBeta(T).betas()
    bar = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])
    assert_close(step.std_max.square(), betas[t - 1])
    assert_close(step.std_min.square(), betas[t - 1] * (1 - bar[t - 1]) / (1 - bar[t]))


def test_the_loss_is_the_divergence_of_the_two_gaussians():
    step, x0, guess = posterior_bounds(LinearBeta(T), U), draw(0).clamp(-1, 1), draw(1)
    share = torch.rand(SHAPE, dtype=torch.float64, generator=generator("cpu", 2))
    betas = LinearBeta(T).betas()
    bar = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])
    t = (U * T).round().long()
    # The posterior's mean is this much of x0, and some of x that both share (Ho et al. 2020, eq. 7).
    of_x0 = (bar[t - 1].sqrt() * betas[t - 1] / (1 - bar[t])).view(4, 1, 1, 1)
    small, large = (std.view(4, 1, 1, 1) for std in (step.std_min, step.std_max))
    p = torch.distributions.Normal(of_x0 * guess, small ** (1 - share) * large**share)
    nats = torch.distributions.kl_divergence(torch.distributions.Normal(of_x0 * x0, small), p).flatten(1).sum(1)
    assert_close(vlb_loss(x0, guess, share, step), 1e-3 * T * nats / (48 * math.log(2)))


def test_the_first_step_is_measured_by_the_decoder():
    step = posterior_bounds(LinearBeta(T), torch.full((4,), 0.001, dtype=torch.float64))
    x0, share = (draw(3).clamp(-1, 1) * 127.5).round() / 127.5, torch.full(SHAPE, 0.5, dtype=torch.float64)
    std = (step.std_min * step.std_max).sqrt().view(4, 1, 1, 1).expand(SHAPE)
    nats = decoder_nats(x0, x0 + 0.001, std)
    assert_close(vlb_loss(x0, x0 + 0.001, share, step), 1e-3 * T * nats / (48 * math.log(2)))


@pytest.mark.parametrize("u", [2 / 4000, 1.0])
def test_the_gradient_of_the_learned_fraction_is_finite_however_wrong_the_prediction(u: float):
    share = torch.full(SHAPE, 0.5, requires_grad=True)
    x0 = draw(3).float().clamp(-1, 1)
    vlb_loss(x0, -1000 * x0, share, posterior_bounds(Cosine(4000), torch.full((4,), u))).sum().backward()
    assert share.grad is not None
    assert share.grad.isfinite().all()


def test_the_best_fraction_is_that_of_the_posterior_where_x0_is_known():
    step, x0 = posterior_bounds(Cosine(T), U), draw(4).clamp(-1, 1)
    losses = [vlb_loss(x0, x0, torch.full(SHAPE, share, dtype=torch.float64), step) for share in (0.0, 0.3, 1.0)]
    assert (losses[0] < 1e-12).all()
    assert (losses[0] <= losses[1]).all()
    assert (losses[1] <= losses[2]).all()


def test_a_variance_is_learned_only_with_a_discrete_schedule():
    with pytest.raises(ValueError, match="learned variance needs a schedule of 2 steps or more"):
        posterior_bounds(RectifiedFlow(), U)


class TwoAnswers(nn.Module):
    """Says zero noise, and a share that is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.noise, self.share = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(0.2))

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        return torch.cat([self.noise.expand_as(x), self.share.expand_as(x)], 1)


def learner() -> Denoiser:
    return Denoiser(TwoAnswers(), Eps(), Timestep(), LinearBeta(), null_label=10, learns_variance=True)


def test_the_bound_trains_the_fraction_alone_and_the_simple_loss_the_noise():
    gradients = []
    for step in (None, posterior_bounds(LinearBeta(), U)):
        model = learner()
        denoising_loss(model, draw(5).float(), draw(6).float(), LinearBeta()(U), posterior=step).mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    (noise, share), (same_noise, taught) = gradients
    assert_close(same_noise, noise)
    assert share is None or share == 0
    assert taught is not None
    assert taught != 0


@pytest.mark.parametrize(("share", "same"), [(-1.0, "small"), (1.0, "large")])
def test_a_learnt_variance_at_either_end_is_the_one_published(share: float, same):
    model = learner()
    nn.init.constant_(model.get_parameter("net.share"), share)
    levels, ends = sampling_levels(LinearBeta(), 20), []
    for sampler, denoise in (
        (Ancestral("learned"), DenoiserWithVariance(model.denoise_with_variance)),
        (Ancestral(same), model),
    ):
        noise = generator("cpu", 8)
        steps = sampler(denoise, draw(7).float(), levels, lambda g=noise: torch.randn(SHAPE, generator=g))
        *_, end = steps
        ends.append(end.x.detach())
    assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-4)


def test_the_learned_fraction_passes_through_guidance_and_clipping():
    model, x = learner(), draw(9).float()
    level = sampling_levels(LinearBeta(), 5)[1]
    guess = clip_x0(classifier_free(model, torch.tensor([0, 1, 2, 3]), Guidance(2.0)))
    x0, share = guess.denoise_with_variance(x, level)
    assert share is not None
    assert_close(share, torch.full(SHAPE, 0.6))
    assert x0.abs().max() <= 1


def test_a_network_without_a_learned_variance_is_refused():
    def denoise(x: Tensor, level: Level) -> Tensor:
        return x

    with pytest.raises(ValueError, match="has learned no variance: choose small or large"):
        next(Ancestral("learned")(denoise, draw(1), sampling_levels(LinearBeta(), 5), lambda: draw(2)))
