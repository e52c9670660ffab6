"""Training a small classifier: on real images, for features; on generated ones, for the classification accuracy score.

The recipe is that of fast ResNets (Page 2018, "How to train your ResNet"): Nesterov momentum, a learning rate that
rises and falls linearly, flips, shifts, label smoothing.
"""

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from limpid.data.augment import Augment
from limpid.data.images import ImageDataset
from limpid.metrics.accuracy import accuracy
from limpid.metrics.estimate import Estimate
from limpid.metrics.extractors.base import in_float32
from limpid.metrics.extractors.cifar_classifier import Classifier
from limpid.runtime.device import Runtime
from limpid.runtime.rng import default_generators_seeded, generator

PEAK_LR, WARMUP, MOMENTUM, WEIGHT_DECAY, LABEL_SMOOTHING = 0.2, 0.25, 0.9, 5e-4, 0.1
"""WARMUP is the fraction of the steps in which the learning rate rises to its peak; then it falls to 0."""
CLASSIFIER_BATCH = 256


def classification_score(
    generated: ImageDataset, test: ImageDataset, runtime: Runtime, epochs: int = 20, seed: int = 0
) -> Estimate:
    """The accuracy on real images of a classifier trained on generated ones only (CAS: Ravuri and Vinyals 2019).

    The error is due to the choice of test images; another training run is not included. Raises ValueError for fewer
    images than a batch.
    """
    model = untrained_classifier(seed, runtime)
    for _ in train_classifier(model, generated.to(runtime.device), epochs, seed, runtime):
        pass
    return accuracy_on_test_set(model, test.to(runtime.device))


def untrained_classifier(seed: int, runtime: Runtime) -> Classifier:
    """A classifier with random weights from this seed."""
    with default_generators_seeded(seed):
        return runtime.to_device(Classifier())


def train_classifier(
    model: Classifier, images: ImageDataset, epochs: int, seed: int, runtime: Runtime
) -> Iterator[dict[str, float]]:
    """Train the model; after each epoch yield its number, its mean loss, and the seconds since the start."""
    if len(images) < CLASSIFIER_BATCH:
        raise ValueError(f"{len(images)} images to train a classifier on: expected at least {CLASSIFIER_BATCH}")
    optimizer = torch.optim.SGD(model.parameters(), PEAK_LR, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    augment, start = Augment(flip=0.5, shift=2), time.perf_counter()
    steps, losses = epochs * len(images) // CLASSIFIER_BATCH, []
    for step, (pixels, labels) in zip(range(steps), images.batches(0, CLASSIFIER_BATCH, seed), strict=False):
        progress = (step + 1) / steps
        optimizer.param_groups[0]["lr"] = PEAK_LR * min(progress / WARMUP, (1 - progress) / (1 - WARMUP))
        augmented = augment(pixels, generator(runtime.device, seed, "augment", step))
        with runtime.autocast():
            logits = model.train()(augmented).logits
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=LABEL_SMOOTHING)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        epoch = (step + 1) * CLASSIFIER_BATCH // len(images)
        if epoch > step * CLASSIFIER_BATCH // len(images) or step + 1 == steps:
            mean = torch.stack(losses).mean().item()
            yield {"epoch": epoch, "loss": mean, "seconds": round(time.perf_counter() - start)}
            losses.clear()


@torch.no_grad()
def accuracy_on_test_set(model: Classifier, images: ImageDataset) -> Estimate:
    """The accuracy of the model on images, in float32."""
    model.eval()
    with in_float32(images.pixels.device):
        logits = torch.cat([model(part).logits for part in images.pixels.split(500)])
    return accuracy(logits, images.labels)
