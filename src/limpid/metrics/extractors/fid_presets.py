"""FID as well-known tools compute it: what each shows to the one Inception network, by the tool's name.

The network and its weights are the same in all of them; their numbers differ, and compare only under equal protocols.
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
    """From 0..255 to -1..0.992, as the graph of TensorFlow does itself."""
    return (x - 128) / 128


def between_ends(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """From 0..255 to -1..1."""
    return x / 255 * 2 - 1


@dataclass(frozen=True)
class InputTransform:
    """What the network is shown of an image: its size by `resize`, its range by `scale`, and both in words."""

    resize: PixelTransform
    scale: PixelTransform
    description: str

    def __call__(self, pixels: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b 3 299 299"]:
        """Images as the network takes them: grey repeated in three channels, RGBA composited over white.

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
    """The extractor of FID by a tool's rules; `weights` is the path of its file, found or downloaded if empty.

    It computes in float32, takes some 15 MB for each image of a batch, and its logits are without the bias, as the
    Inception score wants them. Raises ValueError for a preset that there is not, and if the weights cannot be had.
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
