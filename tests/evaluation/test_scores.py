"""Scores of images whose quality is known: the images themselves, held-out real images, identical images, noise."""

import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from tiny_recipes import CPU
from torch import Tensor

from limpid.data import Cifar10, Digits
from limpid.data.images import ImageDataset
from limpid.evaluation.evaluate import evaluate_images
from limpid.evaluation.generated import from_images
from limpid.evaluation.reference import load_all_images, reference_from_images
from limpid.evaluation.reference_set import ReferenceSet
from limpid.evaluation.report import report_table
from limpid.evaluation.scores import FEATURE_EXTRACTORS, feature_extractor, held_out_scores, scores_of
from limpid.metrics.extractors.base import FeatureExtractor, extract_features
from limpid.metrics.frechet import frechet
from limpid.metrics.moments import Moments, Statistics
from limpid.sampling.labels import labels_by_share


def test_an_unknown_feature_network_is_refused_with_the_choices():
    with pytest.raises(
        ValueError, match=f"no feature extractor 'incepton': choose from {', '.join(FEATURE_EXTRACTORS)}"
    ):
        feature_extractor("incepton")


def test_images_against_themselves_score_zero(cache: None, extractor: FeatureExtractor):
    digits = Digits(size=8).load()
    reference = reference_from_images(digits, "digits", extractor)
    assert reference.features is not None
    scores = scores_of(reference.features, reference, extractor)
    assert scores["FD-CIFAR"].value == pytest.approx(0, abs=1e-6)
    assert scores["precision"].value == scores["recall"].value == scores["coverage"].value == 1
    assert scores["sliced Wasserstein"].value == pytest.approx(0, abs=1e-9)


def test_identical_images_have_finite_scores_and_a_note_in_the_report(cache: None, extractor: FeatureExtractor):
    reference = reference_from_images(load_all_images(Digits(size=8)), "digits", extractor)
    images = ImageDataset(torch.full((100, 1, 8, 8), 200, dtype=torch.uint8), torch.zeros(100, dtype=torch.int64))
    report, evaluated = evaluate_images(
        from_images(images, "identical"), ReferenceSet(extractor, reference, None, {}, "none"), CPU
    )
    assert all(math.isfinite(score.value) and math.isfinite(score.error) for score in report.scores.values())
    mean, covariance = reference.statistics
    to_a_point = (evaluated.features.features.double().mean(0) - mean).square().sum() + covariance.trace()
    assert report.scores[extractor.distance_name].value == pytest.approx(to_a_point.item(), rel=1e-9)
    assert "all images are identical" in report.notes[-1]
    assert "all images are identical" in report_table(report)


def test_held_out_scores_do_not_depend_on_the_order_of_the_images(
    cache: None, extractor: FeatureExtractor, digits_by_class: ImageDataset
):
    shuffled, by_class = (
        reference_from_images(images, "digits", extractor) for images in (Digits(size=8).load(), digits_by_class)
    )
    expected, found = (held_out_scores(test, shuffled, extractor, 300)["FD-CIFAR"] for test in (shuffled, by_class))
    assert found == pytest.approx(expected, rel=0.5)


def test_held_out_real_images_score_far_better_than_noise(cache: None, extractor: FeatureExtractor):
    """Half of the digits against the other half."""
    digits = Digits(size=8).load()
    halves = [ImageDataset(digits.pixels[i::2], digits.labels[i::2], digits.class_names) for i in (0, 1)]
    reference, test = (reference_from_images(half, "half", extractor) for half in halves)
    of_real_images = held_out_scores(test, reference, extractor, 500)
    noise = torch.randint(0, 256, (500, 1, 8, 8), dtype=torch.uint8)
    report, _ = evaluate_images(
        from_images(ImageDataset(noise, torch.zeros(500, dtype=torch.int64)), "noise"),
        ReferenceSet(extractor, reference, test, of_real_images),
        CPU,
    )
    assert report.scores["FD-CIFAR"].held_out == of_real_images["FD-CIFAR"]
    assert report.scores["FD-CIFAR"].value > 10 * of_real_images["FD-CIFAR"]


def test_held_out_images_with_the_class_frequencies_of_the_training_set_have_a_low_distance(
    cifar_root: Path, extractor: FeatureExtractor
):
    """Of 1,800 horses and 200 ships: held-out images, half of them ships, are more than 20 times as far away."""

    def horses_and_ships(split: Literal["train", "test"], labels: list[int]) -> Tensor:
        images = Cifar10(root=str(cifar_root), split=split).load()
        rows = [iter((images.labels == label).nonzero().flatten().tolist()) for label in (7, 8)]
        return images.pixels[[next(rows[label]) for label in labels]]

    def statistics(pixels: Tensor) -> Statistics:
        return Moments.of(extract_features(extractor, pixels)["features"]).statistics

    reference = statistics(horses_and_ships("train", [0] * 1800 + [1] * 200))
    balanced, by_frequency = (
        frechet(statistics(horses_and_ships("test", labels_by_share(range(1000), counts))), reference)
        for counts in ((1, 1), (1800, 200))
    )
    assert balanced > 20 * by_frequency
