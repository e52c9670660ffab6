"""What is drawn, for whom: labels that are classes, and none that are not."""

import re

import pytest
import torch
from tiny import CPU, TINY

from limpid.diffusion.denoiser import Denoiser
from limpid.recipe import build
from limpid.sample import sample, trajectory

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def model() -> Denoiser:
    return build(TINY, SHAPE, 10).eval()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([3, 10], "label 10, which stands for no label: expected 0 to 9, a class of the network"),
        ([11, 3], "label 11: expected 0 to 9"),
        ([3, -1], "label -1: expected 0 to 9"),
        ([3], "1 labels for 2 pictures: expected one for each"),
    ],
)
def test_a_label_that_is_no_class_is_refused(labels: list[int], said: str, model: Denoiser):
    with pytest.raises(ValueError, match=re.escape(said)):
        next(sample(model, TINY, [0, 1], SHAPE, CPU, labels))
    with pytest.raises(ValueError, match=re.escape(said)):
        next(trajectory(model, TINY, [0, 1], SHAPE, CPU, torch.tensor(labels)))


def test_a_network_without_classes_is_given_no_label():
    model = build(TINY, SHAPE, 10)
    model.no_label = 0
    with pytest.raises(ValueError, match=re.escape("labels [0] for a network that knows no classes: expected None")):
        next(sample(model, TINY, [0], SHAPE, CPU, [0]))
