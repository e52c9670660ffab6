"""A feature extractor without a download: a CIFAR-10 classifier, trained by `benchmarks/train_cifar_classifier.py`.

Its Frechet distances are called FD-CIFAR, never FID: their scale differs, and they compare only with each other.
"""

import json
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn

from limpid.metrics.extractors.base import FeatureExtractor, Features, in_float32, without_alpha

WEIGHTS = Path(__file__).with_name("cifar.safetensors")
NETWORK = "limpid's CIFAR-10 classifier"
# Mean and standard deviation of the channels of the training images, for pixels in 0..1.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class ClassifierBlock(nn.Module):
    """A convolution with max pooling to half the size, then a residual convolution."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.down, self.down_norm = convolution(width, out), nn.BatchNorm2d(out)
        self.more, self.more_norm = convolution(out, out), nn.BatchNorm2d(out)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        x = F.relu(self.down_norm(F.max_pool2d(self.down(x), 2)))
        return x + F.relu(self.more_norm(self.more(x)))


class Classifier(nn.Module):
    """Maps 32x32 RGB images, pixels 0..255, to 168 features and ten logits: seven convolutions, 0.92M parameters."""

    mean: Tensor
    std: Tensor

    def __init__(self, widths: tuple[int, ...] = (32, 64, 168, 168), classes: int = 10):
        super().__init__()
        self.stem, self.stem_norm = convolution(3, widths[0]), nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential(*(ClassifierBlock(a, b) for a, b in pairwise(widths)))
        self.head = nn.Linear(widths[-1], classes)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1) * 255, persistent=False)

    def forward(self, pixels: UInt8[Tensor, "b c h w"]) -> Features:
        x = ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        x = self.blocks(F.relu(self.stem_norm(self.stem(x))))
        features = x.mean((2, 3))
        return Features(features, self.head(features))


def convolution(width: int, out: int) -> nn.Conv2d:
    """A 3x3 convolution that preserves the size, without bias: the batch norm after it has one."""
    return nn.Conv2d(width, out, 3, padding=1, bias=False)


def cifar_extractor(device: str = "cpu") -> FeatureExtractor:
    """The feature extractor of the classifier that comes with the package, in float32 on `device`.

    Raises ValueError if the SHA-256 of its weight file is not the one in its description.
    """
    found, expected = sha256(WEIGHTS.read_bytes()).hexdigest(), about()["sha256"]
    if found != expected:
        raise ValueError(f"{WEIGHTS} has the sha256 {found}: expected {expected}; reinstall limpid")
    with torch.random.fork_rng(devices=[]):  # the random initial weights are replaced below
        network = Classifier()
    network.load_state_dict(load_file(WEIGHTS))
    network.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return FeatureExtractor("FD-CIFAR", NETWORK, found, "antialiased bilinear to 32x32, RGB", features_fn(network))


def features_fn(network: Classifier) -> Callable[[UInt8[Tensor, "b c h w"]], Features]:
    """A function from images to features and logits, computed on the classifier's device."""

    @torch.no_grad()
    def extract(pixels: UInt8[Tensor, "b c h w"]) -> Features:
        # On the CPU, because torch has no antialiased resize of integers on a GPU.
        inputs = to_classifier_input(pixels.cpu()).to(network.mean.device)
        with in_float32(inputs.device):
            return network(inputs)

    return extract


def about() -> dict[str, Any]:
    """How the classifier was trained, the SHA-256 of its weights, and its test accuracy."""
    return json.loads(WEIGHTS.with_suffix(".json").read_text(encoding="utf-8"))


def to_classifier_input(pixels: UInt8[Tensor, "b c h w"]) -> UInt8[Tensor, "b 3 32 32"]:
    """Images as 32x32 RGB, the classifier's input: grey repeated in three channels, RGBA composited over white.

    Raises ValueError for other numbers of channels.
    """
    wide = without_alpha(pixels).expand(-1, 3, -1, -1)
    return wide if wide.shape[2:] == (32, 32) else F.interpolate(wide, (32, 32), mode="bilinear", antialias=True)
