"""What a feature network says of pictures, and what must be said of it for a score to mean anything."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float, UInt8
from torch import Tensor


class Seen(NamedTuple):
    """What a feature network says of a batch of pictures."""

    features: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class Judge(NamedTuple):
    """A feature network with all that decides its features: scores under different judges do not compare."""

    score: str
    """What its Frechet distance may be called: FID is the name of one network's alone."""
    network: str
    sha256: str
    """Of the file its weights come from."""
    resize: str
    """How a picture comes to the size and range the network takes."""
    look: Callable[[UInt8[Tensor, "b c h w"]], Seen]
