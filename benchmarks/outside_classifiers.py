"""Two CIFAR-10 classifiers of another project (akamaster/pytorch_resnet_cifar10), as independent feature networks.

Their files are read from ../shared/classifier, or from the folder $LIMPID_CLASSIFIERS; they are no part of this
project.
The networks are those of He et al. (2016), section 4.2, with shortcuts that have no parameters. The score is the
Frechet distance of 64 features to those of the 50,000 training images: small numbers, on a scale of their own. The
10,000 test images score 0.050 (ResNet-56) and 0.0214 (ResNet-20).
"""

import os
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from limpid.data import Cifar10
from limpid.metrics.extractors.base import FeatureExtractor, Features
from limpid.metrics.frechet import frechet
from limpid.metrics.moments import Moments, Statistics

FOLDER = Path(os.environ.get("LIMPID_CLASSIFIERS", Path(__file__).parents[2] / "shared" / "classifier"))
CACHE = Path(".cache", "outside-classifiers.safetensors")
FILES = {"ResNet-56": (9, "resnet56-4bfd9763.th"), "ResNet-20": (3, "resnet20-12fca82f.th")}
# Mean and standard deviation of ImageNet's channels, which these networks were trained with.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """Two convolutions beside a shortcut, strided and padded with zero channels where the map gets smaller."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        stride = 1 if channels_in == channels else 2
        self.padding = (channels - channels_in) // 2
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.padding:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(x + y)


class ResNet(nn.Module):
    """Pixels 0..255 to 64 features and ten logits: a convolution, and three stages of `blocks` blocks each."""

    mean: Tensor
    std: Tensor

    def __init__(self, blocks: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        for number, (before, channels) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            widths = [before, *[channels] * blocks]
            stage = nn.Sequential(*(Block(a, b) for a, b in pairwise(widths)))
            self.add_module(f"layer{number}", stage)
        self.linear = nn.Linear(64, 10)
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: UInt8[Tensor, "b 3 32 32"]) -> Features:
        x = ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        features = x.mean((2, 3))
        return Features(features, self.linear(features))


@lru_cache
def classifiers() -> dict[str, FeatureExtractor]:
    """The classifiers whose files exist, by name."""
    return {name: extractor(name) for name, (_, file) in FILES.items() if (FOLDER / file).exists()}


def extractor(name: str) -> FeatureExtractor:
    """One of the classifiers, in float32 on the CPU."""
    blocks, path = FILES[name][0], FOLDER / FILES[name][1]
    tensors = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    net = ResNet(blocks)
    net.load_state_dict({key.removeprefix("module."): value for key, value in tensors.items()})
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    net.eval().requires_grad_(False)
    digest = sha256(path.read_bytes()).hexdigest()
    return FeatureExtractor(f"FD {name}", f"{name} of akamaster", digest, "none: 32x32 RGB", net)


def statistics(extractor: FeatureExtractor, pixels: UInt8[Tensor, "n 3 32 32"], batch: int = 250) -> Statistics:
    """Mean and covariance of the features of images."""
    return Moments.of(torch.cat([extractor.extract(part).features for part in pixels.split(batch)])).statistics


@lru_cache
def real() -> dict[str, Statistics]:
    """Mean and covariance of the features of the training images, by classifier; computed once and cached in .cache."""
    if not CACHE.exists():
        pixels, tensors = Cifar10().load().pixels, {}
        for name, classifier in classifiers().items():
            tensors[f"{name}.mean"], tensors[f"{name}.covariance"] = statistics(classifier, pixels)
        CACHE.parent.mkdir(exist_ok=True)
        save_file(tensors, CACHE)
    tensors = load_file(CACHE)
    return {name: Statistics(tensors[f"{name}.mean"], tensors[f"{name}.covariance"]) for name in classifiers()}


def distances(pixels: UInt8[Tensor, "n 3 32 32"]) -> dict[str, float]:
    """The Frechet distance of images to the training images, by classifier. Raises ValueError if there is none."""
    if not classifiers():
        raise ValueError(f"no classifiers at {FOLDER}: expected {', '.join(file for _, file in FILES.values())}")
    return {name: frechet(statistics(classifier, pixels), real()[name]) for name, classifier in classifiers().items()}
