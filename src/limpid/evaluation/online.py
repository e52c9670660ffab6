"""A cheap score while a run goes on: of few pictures, always from the same seeds, and named by how many they are."""

from functools import cached_property

import torch

from limpid.data import DataSource
from limpid.evaluation.evaluate import feature_extractor
from limpid.evaluation.reference import reference_from_dataset
from limpid.metrics.extractors.base import CHANNELS, FeatureExtractor, extract_features
from limpid.metrics.frechet import Distance, distance_to
from limpid.metrics.moments import Moments
from limpid.recipes.recipe import Recipe
from limpid.runtime.log import logger
from limpid.sampling.labels import labels_by_share
from limpid.sampling.pipeline import Pipeline


class OnlineScorer:
    """The Frechet distance of n pictures to the training set, under limpid's own judge.

    It is higher than that of more pictures, and compares with others of the same n alone.
    """

    def __init__(self, recipe: Recipe, n: int):
        self.recipe, self.n = recipe, n

    @property
    def name(self) -> str:
        """What the score is called in the log."""
        return f"FD-CIFAR@{self.n}"

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """Limpid's own, on the CPU: it is quick there, and takes no memory of the run."""
        return feature_extractor("cifar")

    @cached_property
    def distance(self) -> Distance:
        """The distance to the training set, whose features are kept in the user's cache."""
        return distance_to(reference_from_dataset(self.recipe.data, self.extractor).statistics)

    def measure(self, pipeline: Pipeline) -> float:
        """The score of the pictures that seeds 0..n-1 give, in the steps of the sample grids, with the classes in the
        training set's shares.

        Pictures that are all alike have a score as well, and are warned of.
        """
        seeds = range(self.n)
        labels = labels_by_share(seeds, pipeline.class_shares) if pipeline.class_names else None
        batches = pipeline.for_preview().sample_batches(seeds, labels, batch_size=100)
        features = torch.cat([extract_features(self.extractor, pixels)["features"] for pixels in batches])
        statistics = Moments.of(features).statistics
        if statistics.alike:
            logger.warning(
                f"the {self.n:,} pictures that were scored are all alike, after {pipeline.images_seen:,} images"
            )
        return self.distance(statistics)


def check_online_scoring(recipe: Recipe, source: DataSource) -> None:
    """Raise ValueError if a run is to be scored while it goes on, and what it learns from cannot be."""
    channels, scored = source.shape[0], recipe.every.score_images
    if not recipe.every.score:
        return
    if channels not in CHANNELS:
        known = " or ".join(map(str, CHANNELS))
        raise ValueError(
            f"limpid's judge takes pictures of {known} channels, and these have {channels}: leave out --every.score"
        )
    if scored < 2:
        raise ValueError(f"--every.score-images {scored}: expected at least 2 pictures to score")
    if len(source) < 2:
        raise ValueError(f"{len(source)} training picture: expected at least 2 to compare with, or no --every.score")
