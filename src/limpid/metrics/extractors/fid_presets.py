"""FID as well-known tools compute it: how each prepares the input of the Inception network, by the tool's name.

The network and its weights are the same in all of them. Their scores differ: compare only scores of one protocol.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from limpid.metrics.extractors.base import FeatureExtractor, Features, in_float32, without_alpha
from limpid.metrics.extractors.inception import Inception
from limpid.metrics.extractors.inception_weights import SHA256, find_inception_weights, load_inception
from limpid.metrics.extractors.resize import antialiased_bicubic, antialiased_bilinear, bilinear, tensorflow_bilinear

PixelTransform: TypeAlias = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b c h2 w2"]]


def around_128(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """From 0..255 to -1..0.992, as TensorFlow's graph does itself."""
    return (x - 128) / 128


def between_ends(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """From 0..255 to -1..1."""
    return x / 255 * 2 - 1


@dataclass(frozen=True)
class InputTransform:
    """The preprocessing of images for the network: `resize`, then `scale`, and a description of both."""

    resize: PixelTransform
    scale: PixelTransform
    description: str

    def __call__(self, pixels: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b 3 299 299"]:
        """The network's input: resized and scaled; grey repeated in three channels, RGBA composited over white.

        Raises ValueError for other numbers of channels.
        """
        return self.scale(self.resize(without_alpha(pixels).float())).expand(-1, 3, -1, -1)


TENSORFLOW = InputTransform(
    tensorflow_bilinear,
    around_128,
    "bilinear of TensorFlow 1 (no half-pixel centres, no antialiasing) to 299, then (x - 128) / 128",
)
PYTORCH = InputTransform(
    bilinear,
    between_ends,
    "bilinear of torch (half-pixel centres, no antialiasing) to 299, then x / 255 * 2 - 1",
)
CLEAN = InputTransform(
    antialiased_bicubic,
    around_128,
    "bicubic of Pillow (half-pixel centres, antialiased, in floats, not clipped) to 299, then (x - 128) / 128",
)
TORCHMETRICS = InputTransform(
    antialiased_bilinear,
    around_128,
    "bilinear of torch (half-pixel centres, antialiased) to 299, then (x - 128) / 128",
)

PRESETS = {
    "torch-fidelity": TENSORFLOW,
    "edm": TENSORFLOW,
    "clean-fid-legacy-tensorflow": TENSORFLOW,
    "pytorch-fid": PYTORCH,
    "clean-fid-legacy-pytorch": PYTORCH,
    "clean-fid": CLEAN,
    "torchmetrics": TORCHMETRICS,
}


def inception_extractor(preset: str, weights: str = "", device: torch.device | str = "cpu") -> FeatureExtractor:
    """The feature extractor of FID with the preprocessing of a tool; `weights` is a path, found or downloaded if empty.

    It computes in float32 and takes about 15 MB for each image of a batch; its logits are without the bias, as the
    Inception score uses them. Raises ValueError for an unknown preset, and if the weights are not available.
    """
    if preset not in PRESETS:
        raise ValueError(f"no FID preset {preset!r}: choose from {', '.join(PRESETS)}")
    protocol = PRESETS[preset]
    network = load_inception(find_inception_weights(weights)).to(device)
    return FeatureExtractor("FID", "inception-2015-12-05", SHA256, protocol.description, extract_fn(network, protocol))


def extract_fn(network: Inception, protocol: InputTransform) -> Callable[[UInt8[Tensor, "b c h w"]], Features]:
    """A function from images to features and logits under a protocol, computed on the network's device."""

    def extract(pixels: UInt8[Tensor, "b c h w"]) -> Features:
        inputs = protocol(pixels.to(network.fc.weight.device))
        with in_float32(inputs.device):
            features = network(inputs)
            return Features(features, network.logits_without_bias(features))

    return extract
