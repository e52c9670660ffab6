"""What a feature network says of images, and what must be said of it for a score to mean anything."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


class Features(NamedTuple):
    """What a feature network says of a batch of images."""

    features: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class FeatureExtractor(NamedTuple):
    """A feature network with all that decides its features: scores under different judges do not compare."""

    distance_name: str
    """What its Frechet distance may be called: FID is the name of one network's alone."""
    network: str
    sha256: str
    """Of the file its weights come from."""
    resize: str
    """How an image comes to the size and range the network takes."""
    extract: Callable[[UInt8[Tensor, "b c h w"]], Features]


@contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """What a network computes in here it computes in float32, on every device.

    Without it torch lets convolutions on newer GPUs round to the eleven bits of TF32. Products of matrices it does not,
    unless it was told to, which limpid never does.
    """
    convolutions = torch.backends.cudnn.conv  # pyright: ignore[reportAttributeAccessIssue]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        convolutions.fp32_precision = before


def extract_features(
    extractor: FeatureExtractor, pixels: UInt8[Tensor, "n c h w"], batch: int = 64
) -> dict[str, Tensor]:
    """What the judge says of images, a batch at a time; in the host's memory, on whatever device it looks."""
    said = [extractor.extract(part) for part in pixels.split(batch)]
    features, logits = (torch.cat(parts).cpu() for parts in zip(*said, strict=True))
    return {"features": features, "logits": logits}
