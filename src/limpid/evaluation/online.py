"""Online evaluation: a cheap score during training, of few samples from the same seeds each time."""

from functools import cached_property

import torch

from limpid.data import DataSource
from limpid.evaluation.reference import reference_from_dataset
from limpid.evaluation.scores import feature_extractor
from limpid.metrics.extractors.base import CHANNELS, FeatureExtractor, extract_features
from limpid.metrics.frechet import Distance, distance_to
from limpid.metrics.moments import Moments
from limpid.recipes.recipe import Recipe
from limpid.runtime.log import logger
from limpid.sampling.labels import labels_by_share
from limpid.sampling.pipeline import Pipeline


class OnlineScorer:
    """The Frechet distance of n samples to the training set, in the features of limpid's own classifier.

    It is larger than that of more samples, and comparable for the same n only.
    """

    def __init__(self, recipe: Recipe, n: int):
        self.recipe, self.n = recipe, n

    @property
    def name(self) -> str:
        """The name of the score in the log."""
        return f"FD-CIFAR@{self.n}"

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """Limpid's own, on the CPU: it is fast there, and uses no memory of the training device."""
        return feature_extractor("cifar")

    @cached_property
    def distance(self) -> Distance:
        """The distance to the training set, whose features are saved in the user's cache."""
        return distance_to(reference_from_dataset(self.recipe.data, self.extractor).statistics)

    def measure(self, pipeline: Pipeline) -> float:
        """The score of the samples from seeds 0..n-1, in as many steps as the sample grids.

        The classes have the proportions of the training set. A warning is logged if all samples are identical.
        """
        seeds = range(self.n)
        labels = labels_by_share(seeds, pipeline.class_shares) if pipeline.class_names else None
        batches = pipeline.for_preview().sample_batches(seeds, labels, batch_size=100)
        features = torch.cat([extract_features(self.extractor, pixels)["features"] for pixels in batches])
        statistics = Moments.of(features).statistics
        if statistics.alike:
            logger.warning(
                f"all {self.n:,} samples of the online evaluation are identical, after {pipeline.images_seen:,} images"
            )
        return self.distance(statistics)


def check_online_scoring(recipe: Recipe, source: DataSource) -> None:
    """Raise ValueError if a recipe asks for online evaluation that its training set does not allow."""
    channels, n = source.shape[0], recipe.every.score_images
    if not recipe.every.score:
        return
    if channels not in CHANNELS:
        choices = " or ".join(map(str, CHANNELS))
        raise ValueError(
            f"images of {channels} channels: the feature network takes {choices} channels; leave out --every.score"
        )
    if n < 2:
        raise ValueError(f"--every.score-images {n}: expected at least 2 images")
    if len(source) < 2:
        raise ValueError(f"{len(source)} training image: expected at least 2 to compare with, or no --every.score")
