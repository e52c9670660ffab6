"""Scores of images, from their features and those of a reference set.

Each score has its error. Where a data set has held-out images, their score stands beside it: no model needs to be
better than real images.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from limpid.data.cifar10 import CIFAR10_CLASSES
from limpid.evaluation.reference import Reference
from limpid.evaluation.report import Better, Score
from limpid.metrics.accuracy import accuracy
from limpid.metrics.estimate import Estimate
from limpid.metrics.extractors import cifar_classifier, fid_presets
from limpid.metrics.extractors.base import FeatureExtractor, Features
from limpid.metrics.frechet import frechet_estimate, frechet_infinity
from limpid.metrics.inception_score import inception_score
from limpid.metrics.kid import mmd2
from limpid.metrics.moments import blocks_of
from limpid.metrics.prdc import prdc_for
from limpid.metrics.sliced import sliced_wasserstein
from limpid.recipes.serialize import match_choice
from limpid.runtime.rng import generator, random_subset

JACKKNIFE_BLOCKS = 20
"""Number of blocks of images for the error of a Frechet distance, and for its extrapolation to infinitely many."""
FEATURE_EXTRACTORS = ("cifar", *fid_presets.PRESETS)
"""The choices of a feature network: limpid's own, and Inception with the preprocessing of other tools."""
CLASS_ACCURACY = "class accuracy"
NEIGHBOURS = (3, 5)
"""The customary numbers of neighbours, for precision and recall, and for density and coverage."""


def feature_extractor(name: str, weights: str = "", device: str = "cpu") -> FeatureExtractor:
    """A feature extractor by its name; `weights` is the file of Inception's weights.

    Raises ValueError for an unknown name, and if the weights cannot be read or downloaded.
    """
    name = match_choice("feature extractor", name, FEATURE_EXTRACTORS)
    if name == "cifar":
        return cifar_classifier.cifar_extractor(device)
    return fid_presets.inception_extractor(name, weights, device)


def check_sample_size(n: int) -> None:
    """Raise ValueError if n images are too few to evaluate."""
    if n < 2 * JACKKNIFE_BLOCKS:
        raise ValueError(f"{n} images are too few to evaluate: expected at least {2 * JACKKNIFE_BLOCKS}")


def check_counts(n: int, batch_size: int) -> None:
    """Raise ValueError if n samples are too few to evaluate, or cannot be sampled in batches of this size."""
    check_sample_size(n)
    if batch_size < 1:
        raise ValueError(f"batch size {batch_size}: expected at least 1")


def check_reference_size(n: int, name: str) -> None:
    """Raise ValueError if the n images of a reference are too few to compare with."""
    if n <= max(NEIGHBOURS):
        raise ValueError(f"{n} images of {name} are too few to compare with: expected at least {max(NEIGHBOURS) + 1}")


def scores_of(generated: Features, reference: Reference, extractor: FeatureExtractor) -> dict[str, Score]:
    """Every score of features against a reference, by name."""
    n, (prefix, _, network) = len(generated.features), extractor.distance_name.partition("-")
    suffix = f"-{network}" if network else ""
    blocks = blocks_of(generated.features, JACKKNIFE_BLOCKS, eval_generator("blocks"))
    scores = {extractor.distance_name: score(frechet_estimate(blocks, reference.statistics), "less")}
    if n // JACKKNIFE_BLOCKS >= 2 * generated.features.shape[1]:
        # Another sample of images moves the end of the fitted line about as much as the distance itself.
        limit = frechet_infinity(blocks, reference.statistics)
        error = (scores[extractor.distance_name].error ** 2 + limit.fit**2) ** 0.5
        scores[f"{extractor.distance_name}, n to infinity"] = Score(limit.value, error, JACKKNIFE_BLOCKS - 1, "less")
    if reference.features is not None:
        scores |= neighbour_scores(generated, reference.features, "KID" if prefix == "FID" else f"KD{suffix}")
    scores[f"IS{suffix}"] = score(inception_score(generated.logits, eval_generator("splits")), "more")
    return scores


def neighbour_scores(generated: Features, reference: Features, kernel_name: str) -> dict[str, Score]:
    """The scores that need the features of every reference image.

    Those by nearest neighbours compare equally many images: of the larger set a random subset.
    """
    n = min(len(generated.features), len(reference.features))
    real = reference.features[torch.randperm(len(reference.features), generator=eval_generator("rows"))[:n]]
    fake = generated.features[random_subset(n, len(generated.features))]
    three, five = prdc_for(real, fake, NEIGHBOURS)
    return {
        kernel_name: score(mmd2(generated.features, reference.features), "less"),
        "precision": score(three.precision, "more"),
        "recall": score(three.recall, "more"),
        "density": score(five.density, "more"),
        "coverage": score(five.coverage, "more"),
        "sliced Wasserstein": score(sliced_wasserstein(fake, real, eval_generator("directions")), "less"),
    }


def class_accuracy(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Score:
    """The fraction of images that the feature network classifies as the class that they were conditioned on."""
    return score(accuracy(logits, labels), "more")


def predicts_classes(extractor: FeatureExtractor, class_names: Sequence[str]) -> bool:
    """Whether the logits of an extractor are those of these classes."""
    return extractor.network == cifar_classifier.NETWORK and tuple(class_names) == CIFAR10_CLASSES


def held_out_scores(
    held_out: Reference | None, reference: Reference, extractor: FeatureExtractor, n: int
) -> dict[str, float]:
    """The scores of n held-out real images, or of all if there are fewer; empty if there are none."""
    if held_out is None or held_out.features is None or held_out.images is None:
        return {}
    subset = random_subset(n, held_out.n)
    features = Features(*(rows[subset] for rows in held_out.features))
    values = {name: one.value for name, one in scores_of(features, reference, extractor).items()}
    if predicts_classes(extractor, held_out.images.class_names):
        values[CLASS_ACCURACY] = class_accuracy(features.logits, held_out.images.labels[subset]).value
    return values


def score(estimate: Estimate, better: Better) -> Score:
    """An estimate as a score."""
    return Score(estimate.value, estimate.error, min(estimate.dof, 1e9), better, trials=estimate.trials)


def eval_generator(purpose: str) -> torch.Generator:
    """The generator of the random choices of an evaluation; they are the same in every evaluation."""
    return generator("cpu", "evaluate", purpose)
