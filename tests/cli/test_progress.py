"""A command says how far it is: on a terminal by a bar, in a pipe by a line for each tenth."""

import pytest
import torch
from torch import nn

from limpid.cli.progress import evaluation_progress
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers import Ancestral, Ddim, Dopri5, DpmSolverPP, Heun, Sampler
from limpid.diffusion.samplers.steps import final_step
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.sampling.evaluations import sampler_evaluations


@pytest.mark.parametrize("total", [1, 7, 40])
def test_in_a_pipe_there_is_a_line_for_each_tenth_and_for_the_end(total: int, capsys: pytest.CaptureFixture[str]):
    net = nn.Linear(2, 2)
    with evaluation_progress(net, total):
        for _ in range(total):
            net(torch.zeros(1, 2))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == min(total, 10)
    assert lines[-1] == f"{total} of {total} network evaluations"
    assert not net._forward_hooks


def test_more_evaluations_than_expected_are_shown_as_all(capsys: pytest.CaptureFixture[str]):
    net = nn.Linear(2, 2)
    with evaluation_progress(net, 3):
        for _ in range(5):
            net(torch.zeros(1, 2))
    assert capsys.readouterr().err.splitlines()[-1] == "3 of 3 network evaluations"


@pytest.mark.parametrize("sampler", [Ancestral(), Ddim(), Heun(), DpmSolverPP()])
def test_the_evaluations_of_a_sampler_are_those_that_it_takes(sampler: Sampler):
    evaluations = 0

    def denoise(x: Batch, level: Level) -> Batch:
        nonlocal evaluations
        evaluations += 1
        return x

    x = torch.ones(1, 1, 2, 2)
    final_step(sampler(denoise, x, sampling_levels(Karras(), 5), lambda: torch.zeros_like(x)))
    assert evaluations == sampler_evaluations(sampler, 5)


def test_an_adaptive_sampler_is_expected_to_take_some_evaluations():
    assert sampler_evaluations(Dopri5(), 5) > 0
