"""The classification accuracy score: a classifier that is trained on samples, and tested on real images."""

import pytest
import torch
from tiny_recipes import CPU

from limpid.data import Digits
from limpid.data.images import ImageDataset
from limpid.evaluation.classifier import accuracy_on_test_set, classification_score, untrained_classifier
from limpid.evaluation.model_metrics import ModelMetrics, check_model_metrics
from limpid.evaluation.reference import reference_from_dataset
from limpid.evaluation.reference_set import TrainTestPair
from limpid.metrics.extractors.base import FeatureExtractor
from limpid.sampling.pipeline import Pipeline


def test_a_classifier_is_evaluated_in_float32_and_the_settings_of_torch_are_restored():
    """torch lets the convolutions of newer GPUs round to the eleven bits of TF32."""
    convolutions, precisions = torch.backends.cudnn.conv, []  # pyright: ignore[reportAttributeAccessIssue]
    before, model = convolutions.fp32_precision, untrained_classifier(0, CPU)
    model.register_forward_hook(
        lambda net, inputs, output: precisions.append((convolutions.fp32_precision, output.logits.dtype))
    )
    black = ImageDataset(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with torch.autocast("cpu", torch.bfloat16):
        accuracy_on_test_set(model, black)
    assert precisions == [("ieee", torch.float32)]
    assert convolutions.fp32_precision == before == "tf32"


def test_a_classifier_generalizes_from_true_labels_and_not_from_wrong_ones():
    digits = Digits(size=8).load()
    rgb = ImageDataset(digits.pixels.expand(-1, 3, -1, -1), digits.labels, digits.class_names)
    training_set, test_set = (
        ImageDataset(rgb.pixels[:900], rgb.labels[:900]),
        ImageDataset(rgb.pixels[900:1300], rgb.labels[900:1300]),
    )
    from_true_labels = classification_score(training_set, test_set, CPU, epochs=10)
    mislabelled = ImageDataset(training_set.pixels[:600], training_set.labels[:600].flip(0))
    from_wrong_labels = classification_score(mislabelled, test_set, CPU, epochs=6)
    assert from_true_labels.value > 0.7
    assert from_wrong_labels.value < 0.3


def test_too_few_samples_for_a_classification_score_are_refused_before_sampling(
    cache: None, pipeline: Pipeline, extractor: FeatureExtractor
):
    digits = reference_from_dataset(Digits(size=8), extractor)
    check_model_metrics(ModelMetrics(cas=True), pipeline, TrainTestPair(digits, digits), 256)
    for n, training in ((255, digits), (256, digits._replace(n=200))):
        with pytest.raises(ValueError, match=f"{n} generated and {training.n} training images: expected at least 256"):
            check_model_metrics(ModelMetrics(cas=True), pipeline, TrainTestPair(training, digits), n)
