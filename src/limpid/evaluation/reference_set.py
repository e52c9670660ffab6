"""The reference of an evaluation: the features of real images, and the scores of held-out ones.

All processes have the same: images that one of them cannot read are missing for all.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from limpid.data import Data, InMemory
from limpid.data.images import ImageDataset
from limpid.evaluation.reference import (
    Reference,
    ReferenceStats,
    held_out,
    load_all_images,
    name_of,
    reference_from_images,
    reference_from_stats,
)
from limpid.evaluation.scores import JACKKNIFE_BLOCKS, check_reference_size, feature_extractor, held_out_scores
from limpid.metrics.extractors.base import FeatureExtractor
from limpid.runtime import distributed
from limpid.sampling.checkpoints import CheckpointInfo
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.training_data import data_of_run

STATISTICS_ONLY = "the reference has statistics only"


class ReferenceSet(NamedTuple):
    """The reference that images are evaluated against."""

    extractor: FeatureExtractor
    reference: Reference
    held_out: Reference | None
    """Real images that are in no training set; None if the data set has no held-out split."""
    held_out_scores: dict[str, float]
    """The scores of those images."""
    missing_reason: str = ""
    """Why there are no held-out images, if there are none."""

    def notes(self, n: int) -> tuple[str, ...]:
        """Notes on the held-out scores beside those of n generated images."""
        if self.missing_reason:
            return (f"no scores of held-out real images: {self.missing_reason}",)
        if self.held_out and self.held_out.n < n:
            return (f"held-out real: {self.held_out.n:,} images, as there are no more",)
        return ()


@dataclass(frozen=True)
class NamedImages:
    """Images in memory as a reference."""

    images: ImageDataset
    name: str


ReferenceSource = Data | NamedImages | ReferenceStats


class TrainTestPair(NamedTuple):
    """The training and held-out images of a model, independent of the reference of its evaluation."""

    training: Reference
    held_out: Reference | None
    missing_reason: str = ""
    """Why there are no held-out images, if there are none."""


def shared_extractor(name: str, weights: str, device: str) -> FeatureExtractor:
    """`feature_extractor` for all processes: the first one of a machine downloads the weights."""
    return distributed.local_main_first(lambda: feature_extractor(name, weights, device))


def reference_set(source: ReferenceSource, extractor: FeatureExtractor, n: int) -> ReferenceSet:
    """The reference for the evaluation of n images. Raises ValueError if its images cannot be read or are too few."""
    if isinstance(source, ReferenceStats):
        statistics = reference_from_stats(Path(source.path), extractor)
        return ReferenceSet(extractor, statistics, None, {}, STATISTICS_ONLY)
    named = source if isinstance(source, NamedImages) else NamedImages(load_all_images(source), name_of(source))
    check_reference_size(len(named.images), named.name)
    reference = reference_from_images(named.images, named.name, extractor, distributed.parallel_map)
    if isinstance(source, NamedImages):
        return ReferenceSet(extractor, reference, None, {}, f"{named.name} has no held-out split")
    test = held_out_reference(source, extractor)
    if isinstance(test, str):
        return ReferenceSet(extractor, reference, None, {}, test)
    return ReferenceSet(extractor, reference, test, held_out_scores(test, reference, extractor, n))


def train_test_pair(training_data: Data | str, source: ReferenceSource, real: ReferenceSet) -> TrainTestPair | str:
    """The training and held-out images of a model with their features, or the reason why they are missing.

    Memorization can be measured against the training images alone, so no other reference can replace them.
    `training_data` is the model's training set, or the reason why that is missing; `real` was made from `source`.
    """
    if isinstance(source, ReferenceStats):
        return real.missing_reason
    if source is training_data or (source == training_data and not isinstance(source, InMemory)):
        return TrainTestPair(real.reference, real.held_out, real.missing_reason)
    images = training_data if isinstance(training_data, str) else try_load_images(training_data)
    if isinstance(images, str) or isinstance(training_data, str):
        return str(images)
    if len(images) < 2:
        return f"{name_of(training_data)} has one image only"
    training = reference_from_images(images, name_of(training_data), real.extractor, distributed.parallel_map)
    test = held_out_reference(training_data, real.extractor)
    return TrainTestPair(training, None, test) if isinstance(test, str) else TrainTestPair(training, test)


def with_class_counts(pipeline: Pipeline, training_data: Data | str) -> Pipeline:
    """The model with the present path of its training set, and with class counts if its checkpoint has none."""
    if isinstance(training_data, str):
        return pipeline
    pipeline = pipeline.with_data(training_data)
    if not pipeline.class_names or pipeline.class_counts:
        return pipeline
    images = try_load_images(training_data)
    if isinstance(images, str) or images.class_names != pipeline.class_names:
        return pipeline
    return replace(pipeline, class_counts=images.class_counts)


def training_data_or_reason(info: CheckpointInfo, root: str, run: Path) -> Data | str:
    """The training set of a run, as `data_of_run` finds it, or the reason why it is missing; in all processes alike."""
    try:
        data = data_of_run(info, root, run)
    except ValueError as error:
        data = str(error)
    if distributed.any_rank(isinstance(data, str)):
        return data if isinstance(data, str) else "another process cannot read it"
    return data


def held_out_reference(data: Data, extractor: FeatureExtractor) -> Reference | str:
    """The held-out images of a data set with their features, or the reason why there are none."""
    test = held_out(data)
    if test is None:
        return f"{name_of(data)} has no held-out split"
    images = try_load_images(test)
    if isinstance(images, str):
        return images
    if len(images) < JACKKNIFE_BLOCKS:
        return f"{len(images)} images of {name_of(test)} are too few: expected at least {JACKKNIFE_BLOCKS}"
    return reference_from_images(images, name_of(test), extractor, distributed.parallel_map)


def try_load_images(data: Data) -> ImageDataset | str:
    """All images of a data set, or the reason why they cannot be read; in all processes alike."""
    try:
        images = load_all_images(data)
    except ValueError as error:
        images = str(error)
    if distributed.any_rank(isinstance(images, str)):
        return images if isinstance(images, str) else "another process cannot read them"
    return images
