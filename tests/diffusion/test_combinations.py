from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from typecheck import unchecked

from limpid.diffusion.guidance import Guidance, guide_away_from
from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.samplers import Sampler
from limpid.diffusion.schedules import Schedule
from limpid.diffusion.targets import Target

PAGE = Path(__file__).parents[2] / "docs" / "combinations.md"


def rows() -> list[list[str]]:
    """The cells of the page's table, its head first."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|---")]


def test_the_page_has_every_schedule_target_and_sampler(combinations: ModuleType):
    head, *body = rows()
    assert head[2:] == [combinations.label_of(sampler) for sampler in combinations.SAMPLERS]
    assert {type(sampler) for sampler in combinations.SAMPLERS} == set(get_args(Sampler))
    kinds = [(schedule.__name__, kind.__name__) for schedule in get_args(Schedule) for kind in get_args(Target)]
    assert [(row[0], row[1]) for row in body] == kinds


@pytest.mark.parametrize("schedule", get_args(Schedule), ids=lambda kind: kind.__name__)
@unchecked()
def test_every_combination_samples_the_data_as_the_page_states(schedule: type, combinations: ModuleType):
    page = {(row[0], row[1]): [float(cell.rstrip("%")) for cell in row[2:]] for row in rows()[1:]}
    for kind in combinations.TARGETS:
        found = [100 * wrong for wrong in combinations.cells(schedule(), kind)]
        # The first step from nearly pure noise makes float32 rounding of Eps visible: half a percent.
        assert found == pytest.approx(page[schedule.__name__, type(kind).__name__], abs=0.5)
        assert max(found) < 20  # 50 steps of order 1


@unchecked()
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), scale=st.floats(0.5, 4), steps=st.integers(20, 60))
def test_guidance_away_from_another_law_samples_the_extrapolated_law(
    combinations: ModuleType, data: st.DataObject, scale: float, steps: int
):
    """Two Gaussians of one standard deviation guide to a third: its mean is as far beyond as the scale says."""
    schedule, kind, sampler = (
        data.draw(st.sampled_from(choices), label=label)
        for label, choices in [
            ("schedule", combinations.SCHEDULES),
            ("target", combinations.TARGETS),
            ("sampler", combinations.SAMPLERS),
        ]
    )
    main, guide = combinations.LAW, Gaussian(torch.tensor([0.1, 0.2]), combinations.LAW.std)
    beyond = Gaussian(torch.lerp(guide.mean, main.mean, scale), main.std)
    levels, _ = combinations.levels_for(schedule, kind, steps)
    denoise = guide_away_from(
        combinations.exact_denoiser(kind, main), combinations.exact_denoiser(kind, guide), Guidance(scale)
    )
    with torch.no_grad():
        found = combinations.output_moments(sampler, denoise, levels, torch.float32)
    # The same law as by the exact denoiser of the third, up to float32 rounding and the adaptive solver's tolerance.
    exact = combinations.output_moments(sampler, beyond, levels, torch.float64)
    assert_close(torch.stack(found).double(), torch.stack(exact), rtol=0, atol=0.02)
    assert combinations.error(*found, beyond) < 0.4  # the error of 20 steps of order 1
