import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from limpid.diffusion.denoiser import Denoiser, LogSigma
from limpid.diffusion.guidance import Guidance, classifier_free, clipped, guided
from limpid.diffusion.level import Level
from limpid.diffusion.oracle import EmpiricalData
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.diffusion.targets import X0


def one(x: Tensor, level: Level) -> Tensor:
    return torch.full_like(x, 1.0)


def two(x: Tensor, level: Level) -> Tensor:
    return torch.full_like(x, 2.0)


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 2.0), (1.0, 3.0), (-1.0, 1.0), (0.5, 2.5)])
def test_guidance_goes_past_the_strong_denoiser_away_from_the_weak(weight: float, expected: float):
    assert (
        guided(two, one, Guidance(weight))(torch.zeros(2), sampling_levels(Karras(), 2)[0]).tolist() == [expected] * 2
    )


class ByLabel(nn.Module):
    """A network whose answer is the label; 10 stands for none."""

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        said = torch.full((len(x),), 10) if labels is None else labels
        return said[:, None].float().expand_as(x)


def test_guidance_in_one_batch_is_guidance_in_two():
    model = Denoiser(ByLabel(), X0(), LogSigma(), Karras(), no_label=10)
    labels, x, level = torch.tensor([3, 7]), torch.zeros(2, 5), sampling_levels(Karras(), 2)[0]
    apart = guided(lambda x, level: model(x, level, labels), model, Guidance(0.7))(x, level)
    assert_close(classifier_free(model, labels, Guidance(0.7))(x, level), apart)


def test_clipping_holds_the_picture_in_range():
    points = EmpiricalData(torch.tensor([[3.0, -2.0]]))
    assert clipped(points)(torch.zeros(1, 2), sampling_levels(Karras(), 2)[0]).tolist() == [[1, -1]]


def test_guidance_acts_in_its_interval_alone():
    calls = []

    def weak(x: Tensor, level: Level) -> Tensor:
        calls.append(level.edm_sigma.item())
        return one(x, level)

    levels = sampling_levels(Karras(), 8)
    guide = guided(two, weak, Guidance(1.0, sigma_lo=0.1, sigma_hi=10.0))
    said = [guide(torch.zeros(1), levels[i]).item() for i in range(8)]
    inside = [0.1 <= levels[i].edm_sigma.item() <= 10 for i in range(8)]
    assert said == [3.0 if acts else 2.0 for acts in inside]
    assert len(calls) == sum(inside)


def test_rescaled_guidance_has_the_contrast_of_the_strong_guess():
    strong, weak = torch.randn(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert_close(Guidance(3.0, rescale=1.0)(strong, weak).std((1, 2, 3)), strong.std((1, 2, 3)))
    half = Guidance(3.0, rescale=0.5)(strong, weak).std((1, 2, 3))
    full = Guidance(3.0)(strong, weak).std((1, 2, 3))
    assert_close(half, (full + strong.std((1, 2, 3))) / 2)


@pytest.mark.parametrize(
    "field",
    [
        *({"weight": number} for number in (math.nan, math.inf, -math.inf, 1e30, 1001.0)),
        *({"sigma_lo": math.nan}, {"sigma_lo": -1.0}, {"sigma_lo": 2.0, "sigma_hi": 1.0}, {"sigma_hi": math.nan}),
        *({"rescale": math.nan}, {"rescale": -0.1}, {"rescale": 1.1}, {"rescale": math.inf}),
    ],
)
def test_guidance_that_cannot_be_is_refused(field: dict[str, float]):
    with pytest.raises(ValueError, match="expected"):
        Guidance(**field)
