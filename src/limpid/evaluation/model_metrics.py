"""What only a run can be asked: does it copy, does it know its training pictures better, do its pictures teach?"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from limpid.data.augment import Augment
from limpid.data.images import ImageDataset
from limpid.evaluation.classifier import BATCH, classification_score
from limpid.evaluation.evaluate import ExtractedImages, eval_generator, score
from limpid.evaluation.generalization_gap import generalization_gap
from limpid.evaluation.likelihood import LikelihoodConfig, bits_per_dim, open_split
from limpid.evaluation.memorization import FALSE_ALARM_RATE, Memorization, memorization
from limpid.evaluation.reference import Reference
from limpid.evaluation.report import Score
from limpid.metrics.estimate import Estimate
from limpid.metrics.extractors.cifar_classifier import to_classifier_input
from limpid.runtime.device import Runtime
from limpid.sampling.labels import check_class_names
from limpid.sampling.pipeline import Pipeline


@dataclass(frozen=True)
class ModelMetrics:
    """What a run is asked besides scores of features."""

    gap_images: int = 256
    """Of how many training and held-out pictures to measure the loss; 0 for none."""
    likelihood_images: int = 0
    """Of how many held-out pictures to measure the bits per dimension; 0 for none."""
    cas: bool = False
    """Train a classifier on the drawn pictures, one on as many real ones, and test both on held-out ones (minutes)."""


class TrainTestPair(NamedTuple):
    """The pictures that a run was trained on and those held out from it, whatever its own are compared with."""

    training: Reference
    held_out: Reference | None
    missing_reason: str = ""
    """Why none are held out, if none are."""


def check(questions: ModelMetrics, pipeline: Pipeline, known: TrainTestPair | None, n: int) -> None:
    """Raise ValueError for what this run cannot be asked after drawing n pictures, before it draws them."""
    if questions.gap_images < 0 or questions.gap_images == 1:
        raise ValueError(f"--gap-images {questions.gap_images}: expected 0 for none, or at least 2 pictures")
    if pipeline.class_names and known:
        check_class_names(pipeline.class_names, images_of(known.training).class_names, "this network")
    if questions.likelihood_images:
        open_split(pipeline.recipe.data, LikelihoodConfig(n=questions.likelihood_images), pipeline.runtime)
    if questions.cas:
        if not (pipeline.class_names and known and known.held_out):
            why = f" ({known.missing_reason})" if known and known.missing_reason else ""
            raise ValueError(f"--cas needs a run that knows classes, and real pictures that are held out{why}")
        if min(n, known.training.n) < BATCH:
            given = f"{n} drawn and {known.training.n} training pictures"
            raise ValueError(f"--cas with {given}: expected at least {BATCH} of each")


def model_metrics(
    generated: ExtractedImages,
    pipeline: Pipeline,
    known: TrainTestPair | None,
    questions: ModelMetrics,
    folder: Path,
) -> tuple[dict[str, Score], list[Path]]:
    """The answers as scores, and the pictures they were written to in `folder`.

    Without the run's own pictures it is asked of none that it may have learnt by heart; without some that are held out
    copies are shown, but not counted. Raises ValueError for questions that this run has no answer to.
    """
    check(questions, pipeline, known, len(generated.pixels))
    found: dict[str, Score] = {}
    written: list[Path] = []
    if known:
        training, apart = images_of(known.training), images_of(known.held_out) if known.held_out else None
        shown = with_flips(training, pipeline.recipe.augment)
        for space, compared in memorization_by_space(generated, known, shown).items():
            if compared.rate:
                found[f"copies by {space}"] = replace(score(compared.rate, "less"), held_out=FALSE_ALARM_RATE)
            written.append(compared.picture(generated.pixels, shown, folder / f"copies-by-{space}.png"))
        if questions.gap_images and apart:
            losses = generalization_gap(pipeline, training, apart, questions.gap_images)
            found["held-out loss - training loss"] = score(losses.mean_gap, "less")
            written.append(losses.picture(folder / "loss-by-level.png"))
        if questions.cas and apart:
            found["accuracy after training on them"] = classification_accuracy_score(
                generated, training, apart, pipeline.runtime
            )
    if questions.likelihood_images:
        measured = bits_per_dim(pipeline, LikelihoodConfig(n=questions.likelihood_images))
        found["bits/dim"] = score(Estimate(measured.mean, measured.error, questions.likelihood_images - 1), "less")
    return found, written


def images_of(reference: Reference) -> ImageDataset:
    """The pictures of a reference that is not published statistics alone."""
    assert reference.images is not None
    return reference.images


def features_of(reference: Reference) -> Float[Tensor, "n d"]:
    """The features of those pictures."""
    assert reference.features is not None
    return reference.features.features


def with_flips(training: ImageDataset, augment: Augment) -> UInt8[Tensor, "n c h w"]:
    """The training pictures, and after them all of them mirrored if the run was shown those too."""
    return torch.cat([training.pixels, training.pixels.flip(3)]) if augment.flip else training.pixels


def memorization_by_space(
    looked: ExtractedImages, known: TrainTestPair, shown: UInt8[Tensor, "n c h w"]
) -> dict[str, Memorization]:
    """How near the pictures are to training pictures, in features and in pixels."""
    training, apart = known.training, known.held_out
    pixels = images_of(apart).pixels.flatten(1) if apart else None
    return {
        "features": memorization(
            looked.features.features, features_of(apart) if apart else None, features_of(training)
        ),
        "pixels": memorization(looked.pixels.flatten(1), pixels, shown.flatten(1)),
    }


def classification_accuracy_score(
    looked: ExtractedImages, training: ImageDataset, held_out: ImageDataset, runtime: Runtime
) -> Score:
    """The classification accuracy score, and that of as many real training pictures in the place of held-out ones."""
    assert looked.labels is not None
    chosen = torch.randperm(len(training), generator=eval_generator("teach"))[: len(looked.pixels)]
    test, ours, theirs = (
        ImageDataset(to_classifier_input(pixels), labels)
        for pixels, labels in (
            (held_out.pixels, held_out.labels),
            (looked.pixels, looked.labels),
            (training.pixels[chosen], training.labels[chosen]),
        )
    )
    floor = classification_score(theirs, test, runtime).value
    return replace(score(classification_score(ours, test, runtime), "more"), held_out=floor)
