"""Evaluation of a trained model: its samples against a reference, and the metrics that need the model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from limpid.data import Data
from limpid.evaluation.evaluate import ExtractedImages, evaluate_images, no_progress
from limpid.evaluation.generated import generated_by
from limpid.evaluation.model_metrics import ModelMetrics, check_model_metrics, with_model_metrics
from limpid.evaluation.reference_set import (
    ReferenceSet,
    ReferenceSource,
    TrainTestPair,
    train_test_pair,
    training_data_or_reason,
    with_class_counts,
)
from limpid.evaluation.report import EvalReport
from limpid.interop.foreign import is_foreign
from limpid.recipes.recipe import Sampling
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.sampling.checkpoints import CheckpointRef, find_checkpoint, is_model_name, load_guides, output_folder
from limpid.sampling.first_step import check_first_step
from limpid.sampling.pipeline import Pipeline, load_checkpoint
from limpid.storage.hub import is_hub_folder

Weights: TypeAlias = Literal["ema", "raw"]


@dataclass(frozen=True)
class TrainedModel:
    """A model to be evaluated, with its training set."""

    pipeline: Pipeline
    name: str
    training_data: Data | str
    """The training set, or the reason why it is missing."""
    weights: Weights = "ema"
    cache_dir: Path | None = None
    """The folder of the run, where samples are cached; None for a model in memory."""


class ModelEvaluation(NamedTuple):
    """The result of the evaluation of a model."""

    report: EvalReport
    samples: ExtractedImages
    files: list[Path]
    """The figures that were written."""


def is_run(path: Path) -> bool:
    """Whether a path is a run, a checkpoint or a model of another program, or the name of a model on the Hub or in
    limpid."""
    files = (path / "checkpoints").is_dir() or (path / "recipe.json").exists() or is_hub_folder(path)
    return files or is_model_name(path) or path.suffix == ".safetensors" or is_foreign(path)


def load_trained_model(path: Path, weights: Weights = "ema", runtime: Runtime | None = None) -> TrainedModel:
    """The model of a run or checkpoint, with its training set. Raises ValueError if there is none."""
    ref = find_checkpoint(path)
    data = training_data_or_reason(ref.about, "", path)
    pipeline = with_class_counts(load_checkpoint(ref, runtime, weights), data)
    return TrainedModel(pipeline, str(path), data, weights, output_folder(path))


def load_models(
    ref: CheckpointRef, path: Path, data: Data | str, choices: Sequence[tuple[Sampling, Weights]], runtime: Runtime
) -> list[TrainedModel]:
    """The model of a checkpoint for each choice of sampling and weights, with its guidance model.

    Each kind of weights and each guidance model is loaded once. `data` is the training set, or the reason why it is
    missing.
    """
    chosen = {weights for _, weights in choices}
    pipelines = {
        weights: with_class_counts(load_checkpoint(ref, runtime, weights), data)
        for weights in get_args(Weights)
        if weights in chosen
    }
    guides = load_guides([sampling for sampling, _ in choices], runtime)
    models = []
    for (sampling, weights), guide in zip(choices, guides, strict=True):
        pipeline = replace(pipelines[weights].with_sampling(sampling), guide=guide)
        models.append(TrainedModel(pipeline, str(path), data, weights, output_folder(path)))
    return models


def check_samplable(pipeline: Pipeline) -> None:
    """Raise ValueError for settings with which no sample can be made."""
    check_first_step(pipeline, [0] if pipeline.class_names else None)


def evaluate_samples(
    model: TrainedModel,
    reference: ReferenceSet,
    seeds: range,
    batch_size: int,
    on_progress: Callable[[int], None] = no_progress,
) -> tuple[EvalReport, ExtractedImages]:
    """The report on the samples of a model from `seeds`, and these samples."""
    samples = generated_by(model.pipeline, model.name, model.cache_dir, model.weights, seeds, batch_size)
    return evaluate_images(samples, reference, model.pipeline.runtime, on_progress)


def evaluate_model(
    model: TrainedModel,
    source: ReferenceSource,
    reference: ReferenceSet,
    seeds: range,
    batch_size: int,
    metrics: ModelMetrics,
    folder: Path | None,
    on_progress: Callable[[int], None] = no_progress,
) -> ModelEvaluation:
    """The report on the samples of a model and on the model itself; figures are written to `folder` if one is given.

    `reference` was made from `source`. Of several processes only the main one computes the metrics of the model itself.
    Raises ValueError, before any sampling, for metrics that cannot be computed.
    """
    pair = train_test_pair(model.training_data, source, reference)
    check_model_metrics(metrics, model.pipeline, pair if isinstance(pair, TrainTestPair) else None, len(seeds))
    report, samples = evaluate_samples(model, reference, seeds, batch_size, on_progress)
    if not distributed.is_main_process():
        return ModelEvaluation(report, samples, [])
    report, files = with_model_metrics(report, samples, model.pipeline, pair, metrics, folder)
    return ModelEvaluation(report, samples, files)
