"""The changes between two settings, given to a command or to Python, make the one of the other."""

from dataclasses import replace
from pathlib import Path

import pytest

from limpid.cli.parser import parse
from limpid.cli.sample import Sample
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Ddim, DpmSolverPP, Heun
from limpid.diffusion.schedules import Karras, LinearBeta, ZeroTerminalSnr
from limpid.recipes.changes import changes
from limpid.recipes.recipe import Sampling
from limpid.recipes.registry import with_changes
from limpid.sampling.same_samples import sampling_options

BASE = Sampling(steps=50, sampler=Ddim())
OTHERS = [
    BASE,
    replace(BASE, steps=20, sampler=Heun()),
    replace(BASE, sampler=Ddim(eta=0.5), clip_denoised=False),
    replace(BASE, sampler=DpmSolverPP(order=3, sde=True), schedule=Karras(sigma_max=40.0)),
    replace(BASE, schedule=ZeroTerminalSnr(LinearBeta(T=200)), spacing="leading"),
    replace(BASE, guidance=Guidance(2.5, sigma_hi=3.0), guidance_model="runs/weak one"),
]


@pytest.mark.parametrize("new", OTHERS)
def test_the_changes_turn_one_recipe_into_the_other(new: Sampling):
    assert with_changes(BASE, changes(BASE, new)) == new


@pytest.mark.parametrize("new", OTHERS)
def test_the_options_of_the_command_turn_one_recipe_into_the_other(new: Sampling):
    default = Sample(Path("drawn"), BASE)
    assert parse(default, sampling_options(changes(BASE, new)), "limpid sample RUN").sampling == new
