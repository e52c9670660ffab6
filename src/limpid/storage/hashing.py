"""SHA-256 of weights and of images."""

from hashlib import sha256

from jaxtyping import UInt8
from torch import Tensor, nn

CHUNK = 500
"""Number of images that are generated, evaluated and cached at a time."""


def weights_sha256(net: nn.Module) -> str:
    """The SHA-256 of all weights of a network."""
    digest = sha256()
    for value in net.state_dict().values():
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def pixels_sha256(pixels: UInt8[Tensor, "n c h w"]) -> str:
    """The SHA-256 of the shape and the pixels of images."""
    digest = sha256(str(tuple(pixels.shape)).encode())
    for part in pixels.split(10_000):
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
