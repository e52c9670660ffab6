"""`evaluate`: the report on a model, a set of images or a path, against a reference.

The command `limpid evaluate` calls the same functions.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from limpid.data.images import ImageDataset
from limpid.evaluation.evaluate import evaluate_images, no_progress
from limpid.evaluation.generated import from_images
from limpid.evaluation.image_sources import ImageSet, image_set, reference_source
from limpid.evaluation.model import TrainedModel, Weights, check_samplable, evaluate_model, is_run, load_trained_model
from limpid.evaluation.model_metrics import ModelMetrics
from limpid.evaluation.reference import ReferenceStats, load_all_images
from limpid.evaluation.reference_set import NamedImages, ReferenceSource, reference_set, shared_extractor
from limpid.evaluation.report import EvalReport
from limpid.evaluation.report_file import add_report, check_writable
from limpid.evaluation.scores import check_counts, check_sample_size
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.log import logger, warnings_once
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import ImageShape

DEFAULT_N = 10_000


@warnings_once()
def evaluate(
    images: Pipeline | ImageSet,
    reference: Pipeline | ImageSet | ReferenceStats | None = None,
    *,
    n: int | None = None,
    features: str = "cifar",
    inception: Path | str = "",
    weights: Weights = "ema",
    seed: int = 0,
    batch_size: int = 250,
    metrics: ModelMetrics | None = None,
    out: Path | str | None = None,
    runtime: Runtime | None = None,
    on_progress: Callable[[int], None] = no_progress,
) -> EvalReport:
    """The report on n samples of a model, or on n images, in the features of a feature network.

    `images` are a Pipeline, the path of a run or a checkpoint, Samples, a data set, a folder, .zip or .npz, a tensor, a
    numpy array or PIL images. `reference` is another set of images, or the statistics of one; None is the training set
    of the model. n is 10,000, or all images of a smaller set: only scores of equal n can be compared.

    `features` is "cifar" (FD-CIFAR), or the tool whose FID is computed, with the Inception weights in the file
    `inception`: "torch-fidelity", "edm", "pytorch-fid", "clean-fid", ... A model is sampled from the seeds `seed`,
    `seed` + 1, ...; `weights` are those that are loaded from a path; `metrics` are those that need the model itself.
    The report is added to the file `out`, and figures are written beside it. `on_progress` is called with the number of
    images done so far.

    Raises ValueError for an object that is not a set of images, for too few images, and without a reference.
    """
    if out:
        check_writable(Path(out))
    check_counts(DEFAULT_N if n is None else n, batch_size)
    model = trained_model(images, weights, runtime)
    if model:
        n = n or DEFAULT_N
        check_samplable(model.pipeline)
        source, runtime = model_reference(model, reference), model.pipeline.runtime
        real = reference_set(source, shared_extractor(features, str(inception), runtime.device), n)
        log_description(real.reference.images)
        seeds, folder = range(seed, seed + n), Path(out).parent if out else None
        report = evaluate_model(
            model, source, real, seeds, batch_size, metrics or ModelMetrics(), folder, on_progress
        ).report
    else:
        assert not isinstance(images, Pipeline)
        subset, source = images_and_reference(images, reference, n)
        runtime = (runtime or Runtime()).resolve()
        real = reference_set(source, shared_extractor(features, str(inception), runtime.device), len(subset.images))
        report, _ = evaluate_images(from_images(subset.images, subset.name), real, runtime, on_progress)
    if out and distributed.is_main_process():
        add_report(report, Path(out))
    return report


def trained_model(images: Pipeline | ImageSet, weights: Weights, runtime: Runtime | None) -> TrainedModel | None:
    """The model to evaluate; None if `images` is not a model."""
    if isinstance(images, Pipeline):
        return TrainedModel(images, "model", images.recipe.data, weights)
    if isinstance(images, str | Path) and is_run(Path(images)):
        return load_trained_model(Path(images), weights, runtime)
    return None


def model_reference(model: TrainedModel, reference: Pipeline | ImageSet | ReferenceStats | None) -> ReferenceSource:
    """The reference of a model: its training set unless another is given. Raises ValueError if it is missing."""
    if reference is not None:
        return reference_source(reference, model.pipeline.image_shape)
    if isinstance(model.training_data, str):
        raise ValueError(model.training_data)
    return model.training_data


def images_and_reference(
    images: ImageSet, reference: Pipeline | ImageSet | ReferenceStats | None, n: int | None
) -> tuple[NamedImages, ReferenceSource]:
    """n images (None: 10,000, or all of fewer) and their reference; the images of paths are read in one shape.

    Raises ValueError without a reference, and for fewer images than n.
    """
    if reference is None:
        raise ValueError(
            "no reference for these images: give a data set, images, a folder, .zip or .npz, a run, or ReferenceStats"
        )
    if isinstance(images, str | Path):
        source = reference_source(reference, None)
        chosen = image_set(images, source_shape(source))
    else:
        chosen = image_set(images)
        source = reference_source(reference, chosen.images.shape)
    log_description(chosen.images)
    if n is not None and n > len(chosen.images):
        raise ValueError(f"{chosen.name} has {len(chosen.images):,} images: expected at least n = {n:,}")
    subset = chosen.images.subset(n or DEFAULT_N)
    check_sample_size(len(subset))
    return NamedImages(subset, chosen.name), source


def log_description(images: ImageDataset | None) -> None:
    """Log how a set of images was read, if the log is on."""
    if images is not None and distributed.is_main_process() and logger.isEnabledFor(logging.INFO):
        logger.info(str(images.description))


def source_shape(source: ReferenceSource) -> ImageShape | None:
    """Channels, height and width of the images of a reference; None for statistics."""
    if isinstance(source, ReferenceStats):
        return None
    return (source.images if isinstance(source, NamedImages) else load_all_images(source)).shape
