"""What pictures are judged against: real ones as the judge sees them, and those held out, or why there are none.

Of several processes all come to the same: what one of them cannot read, none has.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from limpid.data import Data
from limpid.data.images import ImageDataset
from limpid.evaluation.evaluate import JACKKNIFE_BLOCKS, ReferenceSet, feature_extractor, held_out_scores
from limpid.evaluation.model_metrics import TrainTestPair
from limpid.evaluation.reference import (
    Reference,
    ReferenceChoice,
    ReferenceStats,
    TrainingData,
    held_out,
    load_all_images,
    name_of,
    reference_from_dataset,
    reference_from_images,
    reference_from_stats,
)
from limpid.metrics.extractors.base import FeatureExtractor
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.sampling.checkpoints import CheckpointInfo
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.training_data import data_of_run


@dataclass(frozen=True)
class EvalOptions:
    """How pictures are judged, wherever they are from."""

    reference: ReferenceChoice = TrainingData()
    """What they are compared with."""
    n: int = 10_000
    """How many pictures to score; scores of different numbers do not compare."""
    features: str = "cifar"
    """The feature network: cifar, limpid's own, which gives FD-CIFAR; or Inception by the rules of torch-fidelity, edm,
    pytorch-fid, clean-fid, clean-fid-legacy-tensorflow, clean-fid-legacy-pytorch or torchmetrics, which gives FID."""
    inception: str = ""
    """Where the published weights of Inception are; looked for, or downloaded, if not given."""
    out: Path = Path("scores.json")
    """The file that keeps the scores."""
    save_stats: str = ""
    """Also write the mean and covariance of the features, mu and sigma, to this .npz."""


def reference_set(judged: EvalOptions, own: Data | str, runtime: Runtime) -> ReferenceSet:
    """The real pictures that `judged` asks for, seen by its judge; `own` are those of the run, or why it has none.

    Raises ValueError if they cannot be had.
    """
    extractor = distributed.local_main_first(
        lambda: feature_extractor(judged.features, judged.inception, runtime.device)
    )
    if isinstance(judged.reference, ReferenceStats):
        return ReferenceSet(
            extractor,
            reference_from_stats(Path(judged.reference.path), extractor),
            None,
            {},
            "it is compared with statistics alone",
        )
    data = own if isinstance(judged.reference, TrainingData) else judged.reference
    if isinstance(data, str):
        raise ValueError(data)
    reference, apart = (
        reference_from_dataset(data, extractor, distributed.parallel_map),
        held_out_reference(data, extractor),
    )
    if isinstance(apart, str):
        return ReferenceSet(extractor, reference, None, {}, apart)
    return ReferenceSet(extractor, reference, apart, held_out_scores(apart, reference, extractor, judged.n))


def train_test_pair(judged: EvalOptions, own: Data | str, real: ReferenceSet) -> TrainTestPair | str:
    """The run's own training pictures, and those held out from it, seen by the judge; or why they cannot be had.

    No others tell what a run has learnt by heart: of pictures that it never saw it has no copies.
    """
    if isinstance(judged.reference, ReferenceStats):
        return real.missing_reason
    if isinstance(judged.reference, TrainingData) or judged.reference == own:
        return TrainTestPair(real.reference, real.held_out, real.missing_reason)
    images = own if isinstance(own, str) else try_load_images(own)
    if isinstance(images, str) or isinstance(own, str):
        return str(images)
    if len(images) < 2:
        return f"{name_of(own)} holds one picture alone"
    training = reference_from_images(images, name_of(own), real.extractor, distributed.parallel_map)
    apart = held_out_reference(own, real.extractor)
    return TrainTestPair(training, None, apart) if isinstance(apart, str) else TrainTestPair(training, apart)


def with_data(pipeline: Pipeline, own: Data | str) -> Pipeline:
    """The network with its training set where it is now, and with its class counts if its checkpoint does not say."""
    if isinstance(own, str):
        return pipeline
    pipeline = pipeline.with_data(own)
    if not pipeline.class_names or pipeline.class_counts:
        return pipeline
    images = try_load_images(own)
    if isinstance(images, str) or images.class_names != pipeline.class_names:
        return pipeline
    return replace(pipeline, class_counts=images.class_counts)


def data_or_why(about: CheckpointInfo, root: str, run: Path) -> Data | str:
    """The data of a run, as `data_of_run` finds it, or why it cannot be had: by all processes alike."""
    try:
        found = data_of_run(about, root, run)
    except ValueError as error:
        found = str(error)
    if distributed.any_rank(isinstance(found, str)):
        return found if isinstance(found, str) else "another process cannot have it"
    return found


def held_out_reference(data: Data, extractor: FeatureExtractor) -> Reference | str:
    """The pictures of a data set that are held out from training, seen by the judge; or why there are none to go by."""
    test = held_out(data)
    if test is None:
        return f"{name_of(data)} keeps none apart"
    images = try_load_images(test)
    if isinstance(images, str):
        return images
    if len(images) < JACKKNIFE_BLOCKS:
        return f"{len(images)} pictures of {name_of(test)} are too few: expected at least {JACKKNIFE_BLOCKS}"
    return reference_from_images(images, name_of(test), extractor, distributed.parallel_map)


def try_load_images(data: Data) -> ImageDataset | str:
    """All pictures of a data set, or why they cannot be had: by all processes alike."""
    try:
        found = load_all_images(data)
    except ValueError as error:
        found = str(error)
    if distributed.any_rank(isinstance(found, str)):
        return found if isinstance(found, str) else "another process cannot have them"
    return found
