"""The loss on held-out images minus the loss on training images."""

from dataclasses import replace

import pytest
import torch
from tiny_recipes import TINY

from limpid.data import Digits
from limpid.data.images import ImageDataset
from limpid.evaluation.generalization_gap import generalization_gap
from limpid.evaluation.likelihood import bits_per_dim
from limpid.evaluation.model_metrics import ModelMetrics, check_model_metrics
from limpid.evaluation.reference import Reference, load_all_images
from limpid.evaluation.reference_set import TrainTestPair
from limpid.metrics.moments import Statistics
from limpid.sampling.pipeline import Pipeline


def test_the_generalization_gap_between_a_set_and_itself_is_zero(pipeline: Pipeline):
    digits = Digits(size=8).load()
    gap = generalization_gap(pipeline, digits, digits, 20)
    assert gap.mean_gap.value == 0
    assert torch.equal(gap.training, gap.held_out)


def test_the_generalization_gap_changes_its_sign_when_the_sets_are_swapped(pipeline: Pipeline):
    digits = Digits(size=8).load()
    first, second = (ImageDataset(digits.pixels[i::2], digits.labels[i::2], digits.class_names) for i in (0, 1))
    gap = generalization_gap(pipeline, first, second, 60)
    swapped = generalization_gap(pipeline, second, first, 60)
    assert gap.mean_gap.value == -swapped.mean_gap.value != 0
    assert gap.mean_gap.error == swapped.mean_gap.error > 0
    assert gap.ratios == sorted(gap.ratios)


def test_the_generalization_gap_is_measured_on_images_of_all_classes(pipeline: Pipeline, digits_by_class: ImageDataset):
    of_all = generalization_gap(pipeline, digits_by_class, digits_by_class, 40)
    of_subset = generalization_gap(pipeline, digits_by_class.subset(40), digits_by_class, 40)
    assert torch.equal(of_all.training, of_subset.training)


def test_a_network_is_not_conditioned_on_labels_of_other_classes(pipeline: Pipeline):
    renamed, images = replace(pipeline, class_names=("zero", *pipeline.class_names[1:])), load_all_images(TINY.data)
    data = TrainTestPair(Reference("digits", len(images), "", Statistics(*torch.zeros(2, 1, 1)), None, images), None)
    message = "this network was trained with 10 classes, and the data has 10: class 0 was 'zero' and is '0'"
    with pytest.raises(ValueError, match=message):
        check_model_metrics(ModelMetrics(), renamed, data, 50)
    with pytest.raises(ValueError, match=message):
        bits_per_dim(renamed, n=2, split="train")
