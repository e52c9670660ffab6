"""Metrics that need the model or its training set: memorization, generalization gap, likelihood, CAS."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from limpid.data.augment import Augment
from limpid.data.images import ImageDataset
from limpid.evaluation.classifier import CLASSIFIER_BATCH, classification_score
from limpid.evaluation.evaluate import ExtractedImages
from limpid.evaluation.generalization_gap import generalization_gap
from limpid.evaluation.likelihood import LikelihoodConfig, bits_per_dim, open_split
from limpid.evaluation.memorization import FALSE_ALARM_RATE, Memorization, memorization
from limpid.evaluation.reference import Reference
from limpid.evaluation.reference_set import TrainTestPair
from limpid.evaluation.report import EvalReport, Score
from limpid.evaluation.scores import eval_generator, score
from limpid.metrics.estimate import Estimate
from limpid.metrics.extractors.cifar_classifier import to_classifier_input
from limpid.runtime.device import Runtime
from limpid.sampling.labels import check_class_names
from limpid.sampling.pipeline import Pipeline


@dataclass(frozen=True)
class ModelMetrics:
    """Which metrics of the model are measured besides those of its samples' features."""

    gap_images: int = 256
    """Number of training and of held-out images for the generalization gap, the difference of their losses; 0: none."""
    likelihood_images: int = 0
    """Number of held-out images for bits per dimension; 0: none."""
    cas: bool = False
    """Also measure the classification accuracy score, which takes minutes.
    A classifier is trained on the samples, another on as many real images, and both are tested on held-out images."""


def check_model_metrics(metrics: ModelMetrics, pipeline: Pipeline, pair: TrainTestPair | None, n: int) -> None:
    """Raise ValueError, before any sampling, for metrics that cannot be measured of this model with n samples."""
    if metrics.gap_images < 0 or metrics.gap_images == 1:
        raise ValueError(f"--gap-images {metrics.gap_images}: expected 0 for none, or at least 2 images")
    if pipeline.class_names and pair:
        check_class_names(pipeline.class_names, images_of(pair.training).class_names, "this network")
    if metrics.likelihood_images:
        open_split(pipeline.recipe.data, LikelihoodConfig(n=metrics.likelihood_images), pipeline.runtime)
    if metrics.cas:
        if not (pipeline.class_names and pair and pair.held_out):
            reason = f" ({pair.missing_reason})" if pair and pair.missing_reason else ""
            raise ValueError(f"--cas needs a class-conditional model and held-out real images{reason}")
        if min(n, pair.training.n) < CLASSIFIER_BATCH:
            given = f"{n} generated and {pair.training.n} training images"
            raise ValueError(f"--cas with {given}: expected at least {CLASSIFIER_BATCH} of each")


def with_model_metrics(
    report: EvalReport,
    generated: ExtractedImages,
    pipeline: Pipeline,
    pair: TrainTestPair | str,
    metrics: ModelMetrics,
    folder: Path | None,
) -> tuple[EvalReport, list[Path]]:
    """The report with the scores of `model_metrics`, or with notes why some are missing, and the files written."""
    usable = pair if isinstance(pair, TrainTestPair) else None
    scores, files = model_metrics(generated, pipeline, usable, metrics, folder)
    return replace(report, scores=report.scores | scores, notes=report.notes + missing_metrics_note(pair)), files


def missing_metrics_note(pair: TrainTestPair | str) -> tuple[str, ...]:
    """Which metrics are missing without training or held-out images, and why."""
    if isinstance(pair, str):
        return (f"no memorization, no generalization gap: {pair}",)
    if pair.missing_reason:
        return (f"memorization only as a figure, no generalization gap: {pair.missing_reason}",)
    return ()


def model_metrics(
    generated: ExtractedImages,
    pipeline: Pipeline,
    pair: TrainTestPair | None,
    metrics: ModelMetrics,
    folder: Path | None,
) -> tuple[dict[str, Score], list[Path]]:
    """The scores by name, and the figures written to `folder` if one is given.

    Without the training images there is no memorization and no generalization gap. Without held-out images the nearest
    training images are shown, but copies are not counted. Raises ValueError for metrics that cannot be measured.
    """
    check_model_metrics(metrics, pipeline, pair, len(generated.pixels))
    scores: dict[str, Score] = {}
    files: list[Path] = []
    if pair:
        training, held_out = images_of(pair.training), images_of(pair.held_out) if pair.held_out else None
        shown = with_flips(training, pipeline.recipe.augment)
        for space, measured in memorization_by_space(generated, pair, shown).items():
            if measured.rate:
                scores[f"copies by {space}"] = replace(score(measured.rate, "less"), held_out=FALSE_ALARM_RATE)
            if folder:
                files.append(measured.save_figure(generated.pixels, shown, folder / f"copies-by-{space}.png"))
        if metrics.gap_images and held_out:
            gap = generalization_gap(pipeline, training, held_out, metrics.gap_images)
            scores["held-out loss - training loss"] = score(gap.mean_gap, "less")
            if folder:
                files.append(gap.save_figure(folder / "loss-by-level.png"))
        if metrics.cas and held_out:
            scores["classification accuracy score"] = classification_accuracy_score(
                generated, training, held_out, pipeline.runtime
            )
    if metrics.likelihood_images:
        measured = bits_per_dim(pipeline, config=LikelihoodConfig(n=metrics.likelihood_images))
        scores["bits/dim"] = score(Estimate(measured.mean, measured.error, metrics.likelihood_images - 1), "less")
    return scores, files


def images_of(reference: Reference) -> ImageDataset:
    """The images of a reference that has more than statistics."""
    assert reference.images is not None
    return reference.images


def features_of(reference: Reference) -> Float[Tensor, "n d"]:
    """The features of those images."""
    assert reference.features is not None
    return reference.features.features


def with_flips(training: ImageDataset, augment: Augment) -> UInt8[Tensor, "n c h w"]:
    """The training images, followed by their mirror images if the recipe flips images."""
    return torch.cat([training.pixels, training.pixels.flip(3)]) if augment.flip else training.pixels


def memorization_by_space(
    generated: ExtractedImages, pair: TrainTestPair, shown: UInt8[Tensor, "n c h w"]
) -> dict[str, Memorization]:
    """Memorization by distances of features and of pixels; `shown` are the training images with their flips."""
    training, held_out = pair.training, pair.held_out
    held_out_features = features_of(held_out) if held_out else None
    held_out_pixels = images_of(held_out).pixels.flatten(1) if held_out else None
    return {
        "features": memorization(generated.features.features, held_out_features, features_of(training)),
        "pixels": memorization(generated.pixels.flatten(1), held_out_pixels, shown.flatten(1)),
    }


def classification_accuracy_score(
    generated: ExtractedImages, training: ImageDataset, held_out: ImageDataset, runtime: Runtime
) -> Score:
    """The classification accuracy score of generated images, and beside it that of as many real training images."""
    assert generated.labels is not None
    subset = torch.randperm(len(training), generator=eval_generator("teach"))[: len(generated.pixels)]
    test, fake, real = (
        ImageDataset(to_classifier_input(pixels), labels)
        for pixels, labels in (
            (held_out.pixels, held_out.labels),
            (generated.pixels, generated.labels),
            (training.pixels[subset], training.labels[subset]),
        )
    )
    real_score = classification_score(real, test, runtime).value
    return replace(score(classification_score(fake, test, runtime), "more"), held_out=real_score)
