import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from limpid.diffusion.denoiser import Denoiser, LogSigma
from limpid.diffusion.guidance import Guidance, classifier_free, clip_x0, guide_away_from
from limpid.diffusion.level import Level
from limpid.diffusion.oracle import EmpiricalData
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.diffusion.targets import X0
from limpid.recipes.serialize import from_dict


def one(x: Tensor, level: Level) -> Tensor:
    return torch.full_like(x, 1.0)


def two(x: Tensor, level: Level) -> Tensor:
    return torch.full_like(x, 2.0)


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 2.0), (2.0, 3.0), (0.0, 1.0), (1.5, 2.5)])
def test_guidance_extrapolates_from_the_guide_past_the_main_denoiser(scale: float, expected: float):
    level = sampling_levels(Karras(), 2)[0]
    assert guide_away_from(two, one, Guidance(scale))(torch.zeros(2), level).tolist() == [expected] * 2


def test_a_scale_of_one_is_the_main_denoiser_and_leaves_the_guide_alone():
    def never(x: Tensor, level: Level) -> Tensor:
        raise AssertionError("the guide was evaluated")

    assert not Guidance().enabled
    assert (
        guide_away_from(two, never, Guidance(1.0))(torch.zeros(2), sampling_levels(Karras(), 2)[0]).tolist()
        == [2.0] * 2
    )


@pytest.mark.parametrize("weight", [-0.5, 0.1, 0.5, 0.7, 1.0, 2.0, 1 / 3])
def test_a_scale_samples_the_bits_that_a_weight_one_less_did(weight: float):
    main, guide = torch.randn(2, 64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    scale = from_dict(Guidance, {"weight": weight}).scale
    assert torch.equal(Guidance(scale)(main, guide), torch.lerp(guide, main, 1 + weight))


class ByLabel(nn.Module):
    """A network that predicts its label; 10 stands for none."""

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        given = torch.full((len(x),), 10) if labels is None else labels
        return given[:, None].float().expand_as(x)


def test_guidance_in_one_batch_is_guidance_in_two():
    model = Denoiser(ByLabel(), X0(), LogSigma(), Karras(), null_label=10)
    labels, x, level = torch.tensor([3, 7]), torch.zeros(2, 5), sampling_levels(Karras(), 2)[0]
    apart = guide_away_from(lambda x, level: model(x, level, labels), model, Guidance(1.7))(x, level)
    assert_close(classifier_free(model, labels, Guidance(1.7))(x, level), apart)


def test_clipping_keeps_x0_in_range():
    points = EmpiricalData(torch.tensor([[3.0, -2.0]]))
    assert clip_x0(points)(torch.zeros(1, 2), sampling_levels(Karras(), 2)[0]).tolist() == [[1, -1]]


def test_guidance_is_limited_to_its_interval_of_sigma():
    calls = []

    def weaker(x: Tensor, level: Level) -> Tensor:
        calls.append(level.edm_sigma.item())
        return one(x, level)

    levels = sampling_levels(Karras(), 8)
    guide = guide_away_from(two, weaker, Guidance(2.0, sigma_lo=0.1, sigma_hi=10.0))
    predicted = [guide(torch.zeros(1), levels[i]).item() for i in range(8)]
    inside = [0.1 <= levels[i].edm_sigma.item() <= 10 for i in range(8)]
    assert predicted == [3.0 if active else 2.0 for active in inside]
    assert len(calls) == sum(inside)


def test_rescaled_guidance_has_the_standard_deviation_of_the_main_denoiser():
    main, guide = torch.randn(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert_close(Guidance(4.0, rescale=1.0)(main, guide).std((1, 2, 3)), main.std((1, 2, 3)))
    half = Guidance(4.0, rescale=0.5)(main, guide).std((1, 2, 3))
    full = Guidance(4.0)(main, guide).std((1, 2, 3))
    assert_close(half, (full + main.std((1, 2, 3))) / 2)


@pytest.mark.parametrize(
    "field",
    [
        *({"scale": number} for number in (math.nan, math.inf, -math.inf, 1e30, 1001.0)),
        *({"sigma_lo": math.nan}, {"sigma_lo": -1.0}, {"sigma_lo": 2.0, "sigma_hi": 1.0}, {"sigma_hi": math.nan}),
        *({"rescale": math.nan}, {"rescale": -0.1}, {"rescale": 1.1}, {"rescale": math.inf}),
    ],
)
def test_guidance_out_of_range_is_refused(field: dict[str, float]):
    with pytest.raises(ValueError, match="expected"):
        Guidance(**field)
