"""The reference of an evaluation: its cached features, its held-out split and its classes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_recipes import TINY

from limpid.data import Cifar10, Digits, Folder
from limpid.data.images import ImageDataset
from limpid.evaluation.reference import (
    held_out,
    load_all_images,
    reference_from_dataset,
)
from limpid.evaluation.reference_set import with_class_counts
from limpid.metrics.extractors.base import FeatureExtractor, Features
from limpid.sampling.pipeline import Pipeline
from limpid.storage.hashing import pixels_sha256


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "cache"))


def test_features_of_real_images_are_cached(empty_cache: None, extractor: FeatureExtractor):
    first = reference_from_dataset(Digits(size=8), extractor)
    failing = extractor._replace(extract=lambda pixels: pytest.fail("the features were computed again"))
    second = reference_from_dataset(Digits(size=8), failing)
    assert first.features is not None
    assert second.features is not None
    assert torch.equal(first.features.features, second.features.features)


def test_features_of_another_resize_rule_are_cached_separately(cache: None, extractor: FeatureExtractor):
    reference_from_dataset(Digits(size=8), extractor)
    other = extractor._replace(
        resize="by another rule",
        extract=lambda pixels: Features(torch.ones(len(pixels), 2), torch.ones(len(pixels), 2)),
    )
    assert reference_from_dataset(Digits(size=8), other).statistics.mean.tolist() == [1, 1]


def test_held_out_images_are_those_of_the_test_split():
    assert held_out(Cifar10()) == Cifar10(split="test")
    assert held_out(Folder("x")) == Folder("x", split="test")
    assert held_out(Digits()) is None
    assert held_out(Cifar10(split="test")) is None


def test_a_subset_of_a_data_set_in_the_order_of_its_classes_has_all_classes(digits_by_class: ImageDataset):
    subset = digits_by_class.subset(100)
    assert len(subset) == 100
    assert subset.labels.unique().tolist() == list(range(10))
    assert pixels_sha256(subset.pixels) == pixels_sha256(digits_by_class.subset(100).pixels)
    assert digits_by_class.subset(5000) is digits_by_class


def test_a_checkpoint_has_the_number_of_images_of_each_class(pipeline: Pipeline):
    counts = load_all_images(TINY.data).class_counts
    assert pipeline.class_counts == counts
    assert sum(counts) == 1797
    without_counts = replace(pipeline, class_counts=())
    assert with_class_counts(without_counts, TINY.data).class_counts == counts
    assert with_class_counts(replace(without_counts, class_names=tuple("abcdefghij")), TINY.data).class_counts == ()
    assert with_class_counts(without_counts, Folder("nowhere")).class_counts == ()
