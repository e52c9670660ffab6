"""A fixed-step sampler is a table of numbers; what is none is refused."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers import Ancestral, Ddim, Deis, Dopri5, DpmSolverPP, DpmSolverPP2S, Heun, Lms, UniPC
from limpid.diffusion.samplers.steps import Noise, SamplerStep, final_step, level_pairs, step_x0
from limpid.diffusion.schedules import Cosine, Karras, LinearBeta, RectifiedFlow, Schedule, sampling_levels
from limpid.interop.sampler_table import apply_table, sampler_table

SAMPLERS = [
    DpmSolverPP(2),
    DpmSolverPP(3),
    Ddim(),
    UniPC(3),
    Deis(3),
    Lms(4),
    DpmSolverPP2S(),
    Heun(),
    Heun(churn=3.0),
    Ancestral("small"),
    Ancestral("large"),
    Ddim(0.5),
    DpmSolverPP(2, sde=True),
]


def normal(seed: int) -> Callable[[], Tensor]:
    random = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(3, 5, dtype=torch.float64, generator=random)


def denoise(x: Batch, level: Level) -> Batch:
    return torch.tanh(level.alpha * x / (level.alpha.square() + level.sigma.square()) + 0.3)


@pytest.mark.parametrize("schedule", [Karras(), LinearBeta(), RectifiedFlow()], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_table_gives_what_its_sampler_gives(sampler: Denoise, schedule: Schedule):
    levels = sampling_levels(schedule, 7)
    noise = normal(0)
    expected = final_step(sampler(denoise, levels[0].sigma * noise(), levels, noise)).x  # pyright: ignore
    *_, found = apply_table(sampler_table(sampler, levels), denoise, normal(0))  # pyright: ignore
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_a_row_holds_few_numbers_however_many_steps_there_are():
    rows = sampler_table(Ancestral("large"), sampling_levels(LinearBeta(), 200))
    assert len(rows) == 201
    assert {len(row.predictions) for row in rows[1:]} == {1}
    assert max(len(row.noises) for row in rows) == 1


def test_a_learned_variance_is_a_ratio_of_the_largest_noise_to_the_smallest():
    levels = sampling_levels(Cosine(100), 5)
    rows = sampler_table(Ancestral("learned"), levels)
    large = sampler_table(Ancestral("large"), levels)
    for row, other in zip(rows, large, strict=True):
        assert len(row.noises) == len(other.noises)
        for small, noise in zip(row.noises, other.noises, strict=True):
            assert math.isclose(small * row.variance_ratio, noise, rel_tol=1e-12)
    assert rows[3].variance_ratio > 1


def test_an_adaptive_sampler_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"Dopri5 chooses its steps by the images.*like Heun"):
        sampler_table(Dopri5(), sampling_levels(Karras(), 5))


def euler_of_clipped(denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
    for here, there in level_pairs(levels):
        x0 = denoise(x, here).clamp(-1, 1)
        x = step_x0(x, x0, here, there)
        yield SamplerStep(x, x0, there)


def test_a_sampler_that_is_not_linear_is_refused():
    with pytest.raises(ValueError, match=r"euler_of_clipped.* is not linear"):
        sampler_table(euler_of_clipped, sampling_levels(Karras(), 5))  # pyright: ignore


def ddim_of_one_noise(denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
    eps = noise()
    for here, there in level_pairs(levels):
        x0 = denoise(x, here)
        x = step_x0(x, x0, here, there) + 0.1 * eps
        yield SamplerStep(x, x0, there)


def test_a_sampler_that_uses_a_noise_again_is_refused():
    with pytest.raises(ValueError, match="an earlier noise again"):
        sampler_table(ddim_of_one_noise, sampling_levels(Karras(), 5))  # pyright: ignore
