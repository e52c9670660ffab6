"""The kernel distance is the sum of its definition and torchmetrics', unbiased, and its errors are honest."""

import math

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd

from limpid.metrics.chunks import COLUMNS
from limpid.metrics.kid import Kid, kid, mmd2

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(n, d, generator=generator(seed), dtype=F64) + shift


def test_the_discrepancy_is_the_sum_of_its_definition():
    x, y = normal(5, 3, 0), normal(4, 3, 1)

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    within_x = sum(k(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    within_y = sum(k(y[i], y[j]) for i in range(4) for j in range(4) if i != j) / 12
    across = sum(k(a, b) for a in x for b in y) / 20
    assert mmd2(x, y).value == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)


@pytest.mark.parametrize("n", [50, COLUMNS + 70])
def test_the_discrepancy_is_torchmetrics(n):
    x, y = normal(n, 6, 0), normal(n, 6, 1, 0.2)
    assert mmd2(x, y).value == pytest.approx(poly_mmd(x, y).item(), rel=1e-9)


class Flat(nn.Module):
    num_features = 12

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`:UserWarning")
def test_subsets_that_leave_out_one_row_scarcely_differ_from_torchmetrics():
    """It samples other subsets: two means over 60 subsets agree within four of their standard errors."""
    x, y = normal(80, 12, 0).float(), normal(80, 12, 1, 0.3).float()
    metric = KernelInceptionDistance(feature=Flat(), subsets=60, subset_size=40)
    metric.update(x.view(80, 3, 2, 2), real=True)
    metric.update(y.view(80, 3, 2, 2), real=False)
    mean, std = (value.item() for value in metric.compute())
    found = kid(x, y, generator(), subsets=60, size=40)
    assert abs(found.value - mean) < 4 * std * math.sqrt(2 / 60)
    assert found.spread == pytest.approx(std, rel=4 / math.sqrt(60))


def test_the_discrepancy_of_two_constants_is_that_of_the_closed_form():
    """For one feature x = 0 always and y = 2 always, k is 1, 125 and 1: MMD^2 is 1 + 125 - 2."""
    found = mmd2(torch.zeros(30, 1), torch.full((20, 1), 2.0))
    assert found[:3] == (124, 0, math.inf)


def test_the_estimate_for_equal_distributions_is_0_on_average_and_negative_half_the_time():
    values = torch.tensor([mmd2(normal(60, 8, s), normal(40, 8, s + 1_000)).value for s in range(300)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(300)
    assert 0.4 < (values < 0).double().mean() < 0.75


def test_the_mean_estimate_does_not_depend_on_the_number_of_rows():
    few = torch.tensor([mmd2(normal(30, 8, s), normal(30, 8, s + 1_000, 0.3)).value for s in range(300)])
    many = torch.tensor([mmd2(normal(300, 8, s), normal(300, 8, s + 1_000, 0.3)).value for s in range(50)])
    assert abs(few.mean() - many.mean()) < 4 * math.hypot(few.std() / math.sqrt(300), many.std() / math.sqrt(50))


@pytest.mark.parametrize(("shift", "low", "high"), [(0.5, 0.9, 1.15), (0.0, 1.1, 1.6)], ids=["apart", "equal"])
def test_the_error_is_the_spread_between_runs_or_larger_for_equal_distributions(shift, low, high):
    found = [mmd2(normal(200, 6, s), normal(150, 6, s + 1_000, shift)) for s in range(300)]
    spread = torch.tensor([one.value for one in found]).std()
    claimed = torch.tensor([one.error for one in found]).square().mean().sqrt()
    assert low < claimed / spread < high


def test_the_error_of_subsets_accounts_for_the_rows_they_share():
    """Between runs their mean scatters as far as it claims, or less; the usual spread / sqrt(subsets) is too small."""
    found = [kid(normal(200, 6, s), normal(200, 6, s + 1_000, 0.5), generator(s), 8, 50) for s in range(100)]
    scatter = torch.tensor([one.value for one in found]).std().item()
    claimed = math.sqrt(sum(one.error**2 for one in found) / len(found))
    usual = math.sqrt(sum(one.spread**2 for one in found) / len(found) / 8)
    assert 0.95 < claimed / scatter < 1.5
    assert usual < 0.7 * scatter


def test_the_mean_over_subsets_estimates_the_discrepancy_of_all_rows():
    x, y = normal(400, 6, 0), normal(300, 6, 1, 0.3)
    found = kid(x, y, generator(), subsets=200, size=50)
    assert abs(found.value - mmd2(x, y).value) < 4 * found.spread / math.sqrt(200)


def test_subsets_are_the_same_for_the_same_generator():
    x, y = normal(100, 6, 0), normal(100, 6, 1)
    assert kid(x, y, generator(), 5, 20) == kid(x, y, generator(), 5, 20) != kid(x, y, generator(1), 5, 20)
    assert isinstance(kid(x, y, generator(), 5, 20), Kid)


def test_float32_gives_seven_digits_of_the_kernel():
    """Features like Inception's: 2,048 of them, positive, 0.4 on average."""
    x, y = (normal(200, 2_048, seed).abs().float() * 0.5 for seed in (0, 1))
    assert mmd2(x, y).value == pytest.approx(mmd2(x.double(), y.double()).value, abs=2e-7)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="1 and 5 rows"):
        mmd2(torch.randn(1, 2), torch.randn(5, 2))
    for subsets, size in ((1, 3), (5, 10), (5, 1)):
        with pytest.raises(ValueError, match=f"{subsets} subsets of {size}: expected .* fewer than 10 rows"):
            kid(torch.randn(10, 2), torch.randn(20, 2), generator(), subsets, size)
