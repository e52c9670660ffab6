"""Every sampler with the order that its paper states, and a Gaussian law to sample."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.samplers import (
    Ancestral,
    Ddim,
    Deis,
    Dopri5,
    DpmSolverPP,
    DpmSolverPP2S,
    Heun,
    Lms,
    Sampler,
    UniPC,
)
from limpid.diffusion.samplers.steps import SamplerStep

LAW = Gaussian(torch.tensor([0.4, -0.2], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64))


class Member(NamedTuple):
    """A sampler and what its docstring says of it."""

    sampler: Sampler
    order: int
    """The order of the error of a trajectory; with noise, of the error of the distribution."""
    evaluations: int = 1
    """Of each step but the last."""


DETERMINISTIC = [
    Member(Ddim(), 1),
    Member(Heun(), 2, 2),
    *(Member(DpmSolverPP(order), order) for order in (1, 2, 3)),
    Member(DpmSolverPP2S(), 2),
    *(Member(UniPC(order), order + 1) for order in (1, 2, 3)),
    *(Member(Deis(order), order) for order in (1, 2, 3, 4)),
    *(Member(Lms(order), order) for order in (1, 2, 3, 4)),
]
STOCHASTIC = [
    Member(Ancestral(), 1),
    Member(Ancestral("large"), 1),
    Member(Ddim(0.5), 1),
    Member(Ddim(1.0), 1),
    Member(Heun(churn=3), 2, 2),
    Member(DpmSolverPP(1, sde=True), 1),
    Member(DpmSolverPP(2, sde=True), 2),
    Member(DpmSolverPP(3, sde=True), 2),
]
EXACT = Dopri5(1e-6, 1e-6)
SAMPLERS = [*(member.sampler for member in DETERMINISTIC + STOCHASTIC), EXACT]


def silent() -> Tensor:
    raise AssertionError("a deterministic sampler drew noise")


def last(steps: Iterable[SamplerStep]) -> SamplerStep:
    *_, end = steps
    return end
