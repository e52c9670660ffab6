"""The Inception score meets its closed forms and torchmetrics'."""

import math

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore

from limpid.metrics.inception_score import inception_score


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_equal_predictions_score_1():
    for logits in (torch.zeros(100, 10), torch.randn(10).expand(100, -1)):
        found = inception_score(logits, generator(), 4)
        assert found.value == pytest.approx(1, abs=1e-12)
        assert found.error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("k", [2, 10])
def test_clear_images_of_balanced_classes_score_their_number(k):
    rows = 1e4 * torch.eye(k).repeat_interleave(500, 0)
    found = [inception_score(rows, generator(seed), 2).value for seed in range(3)]
    # Splits of 250 k images are not quite balanced: ln of the score falls short by (k - 1) / 2 parts in 250 k.
    assert found == pytest.approx([k] * 3, rel=4 * (k - 1) / (2 * 250 * k))
    assert max(found) <= k


def test_a_class_that_is_never_seen_counts_nothing():
    logits = torch.full((40, 3), -math.inf)
    logits[:, :2] = 0.0
    assert inception_score(logits, generator(), 2).value == pytest.approx(1, abs=1e-12)


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).float()


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore`:UserWarning")
def test_the_score_is_torchmetrics():
    images = torch.randint(0, 4, (60, 3, 2, 2), generator=generator(), dtype=torch.uint8)
    metric = InceptionScore(feature=Flat(), splits=2)
    metric.update(images)
    torch.manual_seed(0)
    mean, std = metric.compute()
    torch.manual_seed(0)
    torchmetrics_order, limpid_order = torch.randperm(60), torch.randperm(60, generator=generator())
    # Reordered so that both use the same splits.
    logits = images.flatten(1).float()[torchmetrics_order][limpid_order.argsort()]
    found = inception_score(logits, generator(), 2)
    assert found.value == pytest.approx(mean.item(), rel=1e-5)
    assert found.error * math.sqrt(2) == pytest.approx(std.item(), rel=1e-3)


def test_rows_in_the_order_of_their_classes_are_mixed_first():
    sorted_rows = (1e3 * torch.eye(10)).repeat_interleave(100, 0)
    assert inception_score(sorted_rows, generator(), 10).value > 9


def test_splits_that_cannot_be_are_refused():
    for splits in (1, 6):
        with pytest.raises(ValueError, match=f"{splits} splits of 5 rows"):
            inception_score(torch.zeros(5, 3), generator(), splits)
