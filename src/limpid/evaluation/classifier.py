"""Training a small classifier: on real pictures, to judge with; on drawn ones, to see how much of the real they teach.

The recipe is that of fast ResNets (Page 2018, "How to train your ResNet"): Nesterov's momentum, a rate that rises and
falls in straight lines, flips, shifts, smoothed labels.
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

PEAK, RISE, MOMENTUM, DECAY, SMOOTHING = 0.2, 0.25, 0.9, 5e-4, 0.1
BATCH = 256


def classification_score(
    drawn: ImageDataset, test: ImageDataset, runtime: Runtime, epochs: int = 20, seed: int = 0
) -> Estimate:
    """The accuracy on real pictures of a classifier that was trained on drawn ones alone (Ravuri and Vinyals 2019).

    The error is that of the test pictures, not of another training. Raises ValueError for fewer pictures than a batch.
    """
    model = classifier(seed, runtime)
    for _ in train_classifier(model, drawn.to(runtime.device), epochs, seed, runtime):
        pass
    return accuracy_on_test_set(model, test.to(runtime.device))


def classifier(seed: int, runtime: Runtime) -> Classifier:
    """An untrained one."""
    with default_generators_seeded(seed):
        return runtime.to_device(Classifier())


def train_classifier(
    model: Classifier, images: ImageDataset, epochs: int, seed: int, runtime: Runtime
) -> Iterator[dict[str, float]]:
    """Train the model, yielding after each epoch: its number, the mean loss in it, and the seconds since the start."""
    if len(images) < BATCH:
        raise ValueError(f"{len(images)} pictures to train a classifier on: expected at least {BATCH}")
    optimizer = torch.optim.SGD(model.parameters(), PEAK, MOMENTUM, weight_decay=DECAY, nesterov=True)
    augment, begun = Augment(flip=0.5, shift=2), time.perf_counter()
    steps, losses = epochs * len(images) // BATCH, []
    for step, (pixels, labels) in zip(range(steps), images.batches(0, BATCH, seed), strict=False):
        done = (step + 1) / steps
        optimizer.param_groups[0]["lr"] = PEAK * min(done / RISE, (1 - done) / (1 - RISE))
        moved = augment(pixels, generator(runtime.device, seed, "augment", step))
        with runtime.autocast():
            logits = model.train()(moved).logits
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        epoch = (step + 1) * BATCH // len(images)
        if epoch > step * BATCH // len(images) or step + 1 == steps:
            mean = torch.stack(losses).mean().item()
            yield {"epoch": epoch, "loss": mean, "seconds": round(time.perf_counter() - begun)}
            losses.clear()


@torch.no_grad()
def accuracy_on_test_set(model: Classifier, images: ImageDataset) -> Estimate:
    """The share of pictures that the model, in float32, names rightly."""
    model.eval()
    with in_float32(images.pixels.device):
        logits = torch.cat([model(part).logits for part in images.pixels.split(500)])
    return accuracy(logits, images.labels)
