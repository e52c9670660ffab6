"""Feature extractors: networks whose features of images are compared, and the description that belongs to a score."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

CHANNELS = (1, 3, 4)
"""Channels of the images that feature networks take: grey, RGB, and RGBA, which is composited over white."""


class Features(NamedTuple):
    """The features and logits of a batch of images."""

    features: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class FeatureExtractor(NamedTuple):
    """A feature network and everything that affects its features: scores of different extractors cannot be compared."""

    distance_name: str
    """Name of its Frechet distance: only that of the Inception network is called FID."""
    network: str
    sha256: str
    """SHA-256 of its weight file."""
    resize: str
    """How images are resized and scaled for the network, in words."""
    extract: Callable[[UInt8[Tensor, "b c h w"]], Features]


@contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """A context in which networks compute in float32 on every device.

    By default torch lets convolutions on newer GPUs round to the eleven bits of TF32. Matrix products use TF32 only if
    that is enabled, which limpid never does.
    """
    convolutions = torch.backends.cudnn.conv  # pyright: ignore[reportAttributeAccessIssue]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        convolutions.fp32_precision = before


def without_alpha(pixels: UInt8[Tensor, "b c h w"]) -> UInt8[Tensor, "b c2 h w"]:
    """RGBA images composited over white, to the nearest of 255; grey and RGB images unchanged.

    Raises ValueError for other numbers of channels.
    """
    channels = pixels.shape[1]
    if channels not in CHANNELS:
        raise ValueError(f"images of {channels} channels: a feature network takes grey (1), RGB (3) or RGBA (4) images")
    if channels != 4:
        return pixels
    colours, alpha = pixels[:, :3].int(), pixels[:, 3:].int()
    return ((colours * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)


def extract_features(
    extractor: FeatureExtractor, pixels: UInt8[Tensor, "n c h w"], batch: int = 64
) -> dict[str, Tensor]:
    """The features and logits of images, computed a batch at a time and returned on the CPU."""
    outputs = [extractor.extract(part) for part in pixels.split(batch)]
    features, logits = (torch.cat(parts).cpu() for parts in zip(*outputs, strict=True))
    return {"features": features, "logits": logits}
