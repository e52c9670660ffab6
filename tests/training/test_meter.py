"""The mean loss between two lines of the log, in total and for each range of log-SNR."""

import math

import torch

from limpid.training.meter import LossMeter


def test_the_meter_returns_the_mean_and_is_reset():
    meter = LossMeter("cpu")
    one = torch.ones(1)
    meter.add(torch.tensor([1.0, 2.0]), torch.ones(2), torch.zeros(2))
    meter.add(torch.tensor([6.0]), one, 0 * one)
    assert meter.read().loss == 3
    meter.add(torch.tensor([math.inf]), one, 0 * one)
    assert meter.read().loss == math.inf


def test_the_meter_returns_the_loss_for_each_range_of_log_snr():
    meter = LossMeter("cpu")
    # The losses are weighted by the importance weight; the mean of each range is that of the losses themselves.
    importance_weight, losses = torch.tensor([0.5, 0.5, 1.0, 2.0]), torch.tensor([1.0, 3.0, 5.0, math.inf])
    meter.add(
        losses * importance_weight,
        importance_weight,
        torch.tensor([-math.inf, -7.0, 3.0, math.inf], dtype=torch.float64),
    )
    assert meter.read().parts == {"..-6": 2.0, "2..6": 5.0, "6..": math.inf}
    assert meter.total.count_nonzero() == 0
