from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from limpid.diffusion.level import Level
from limpid.diffusion.losses import check_noisiest_loss
from limpid.diffusion.schedules import (
    Cosine,
    Laplace,
    LinearBeta,
    LogitNormal,
    LogNormal,
    RectifiedFlow,
    Schedule,
    Sigmoid,
    VpSde,
    ZeroTerminalSnr,
)
from limpid.diffusion.targets import X0, Edm, Eps, Flow, Target, V, abs_c_out
from limpid.diffusion.weightings import (
    P2,
    EdmWeight,
    MinSnrWeight,
    SigmoidWeight,
    SnrWeight,
    SoftMinSnr,
    Unweighted,
    Weight,
)

ANGLES = torch.linspace(0.05, 1.5, 30, dtype=torch.float64)
CIRCLE = Level(ANGLES.cos(), ANGLES.sin())
SNR = CIRCLE.snr
# What each paper's weighting is for the error of eps.
FOR_EPS = {
    SnrWeight(): torch.ones_like(SNR),
    MinSnrWeight(5.0): SNR.clamp(max=5) / SNR,
    SoftMinSnr(4.0): 4 / (SNR + 4),
    P2(1.0, 1.0): 1 / (1 + SNR),
    P2(1.0, 0.5): (1 + SNR) ** -0.5,
    SigmoidWeight(-1.0): torch.sigmoid(-1 - SNR.log()),
    EdmWeight(0.5): 1 + 4 / SNR,
    Unweighted(): torch.ones_like(SNR),
}


def test_every_weighting_is_tested_here():
    assert {type(weight) for weight in FOR_EPS} == set(get_args(Weight))


@pytest.mark.parametrize("weight", FOR_EPS, ids=str)
def test_a_weighting_is_that_of_its_paper(weight: Weight):
    assert_close(weight(Eps(), CIRCLE), FOR_EPS[weight])


@pytest.mark.parametrize("kind", [X0(), V(), Flow(), Edm()], ids=str)
@pytest.mark.parametrize("weight", [weight for weight in FOR_EPS if weight != Unweighted()], ids=str)
def test_a_weighting_of_the_error_of_x0_is_the_same_for_every_target(weight: Weight, kind: Target):
    # An error d of x0 is an error d / abs_c_out of the target.
    for_x0 = weight(kind, CIRCLE) / abs_c_out(kind, CIRCLE).square()
    assert_close(for_x0, weight(X0(), CIRCLE))


def test_the_weighting_of_edm_is_one_for_its_own_target():
    levels = LogNormal()(torch.linspace(0.01, 0.99, 20, dtype=torch.float64))
    assert_close(EdmWeight(0.5)(Edm(0.5), levels), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize("weight", FOR_EPS, ids=str)
def test_a_weighting_is_finite_where_no_signal_is_left(weight: Weight):
    end = Level(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    assert weight(V(), end).isfinite().all()


NO_SIGNAL = [(ZeroTerminalSnr(table), Eps()) for table in (LinearBeta(), Cosine(T=7))]


@pytest.mark.parametrize(("schedule", "kind"), NO_SIGNAL, ids=str)
@pytest.mark.parametrize("weight", [weight for weight in FOR_EPS if weight != Unweighted()], ids=str)
def test_a_weighting_of_eps_is_refused_where_there_is_no_signal(weight: Weight, schedule: Schedule, kind: Target):
    with pytest.raises(ValueError, match="no finite loss at the noisiest level"):
        check_noisiest_loss(weight, kind, schedule)


def test_a_variance_is_not_learnt_with_eps_where_there_is_no_signal():
    check_noisiest_loss(Unweighted(), Eps(), ZeroTerminalSnr())
    with pytest.raises(ValueError, match="learned variance with target Eps"):
        check_noisiest_loss(Unweighted(), Eps(), ZeroTerminalSnr(), learned_variance=True)


SCHEDULES = [
    LinearBeta(T=4000),
    Cosine(),
    VpSde(),
    Sigmoid(),
    RectifiedFlow(),
    LogitNormal(),
    LogNormal(),
    Laplace(),
]


@pytest.mark.parametrize("schedule", [*SCHEDULES, ZeroTerminalSnr()], ids=str)
@pytest.mark.parametrize("weight", FOR_EPS, ids=str)
def test_a_weighting_is_finite_where_there_is_signal_and_for_other_targets_everywhere(
    weight: Weight, schedule: Schedule
):
    for kind in (X0(), V(), Flow(), Edm(), *(() if schedule == ZeroTerminalSnr() else (Eps(),))):
        check_noisiest_loss(weight, kind, schedule)
        loss = weight(kind, schedule(torch.linspace(1e-9, 1 - 1e-9, 5, dtype=torch.float64)))
        assert loss.float().isfinite().all(), kind
