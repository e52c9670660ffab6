"""Images of any size brought to the 299 x 299 that Inception takes: four rules in use, which do not agree.

Each takes and gives the scale 0..255 and rounds nothing. With h pixels to be made 299, the pixel i of the result lies
at s of the image: s = i h / 299 for TensorFlow 1, s = (i + 1/2) h / 299 - 1/2 for the others.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

INCEPTION_SIZE = 299
"""Of the images that Inception takes, in pixels."""


def tensorflow_bilinear(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c side side"]:
    """Between the two nearest pixels of each axis, at s = i h / 299, as TensorFlow 1 did by default.

    Pixels have no centres: the first of the result is the first of the image, and the last few repeat its edge.
    The order of the sums is that of TensorFlow, for the same bits.
    """
    return _between(_between(x, 3), 2)


def _between(x: Float[Tensor, "b c h w"], axis: int) -> Float[Tensor, "b c h2 w2"]:
    size = x.shape[axis]
    place = torch.arange(INCEPTION_SIZE, dtype=x.dtype, device=x.device) * (size / INCEPTION_SIZE)
    before = place.long()
    after = (before + 1).clamp(max=size - 1)
    share = (place - before).view(-1, *[1] * (3 - axis))
    low = x.index_select(axis, before)
    return low + (x.index_select(axis, after) - low) * share


def bilinear(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c side side"]:
    """Between the two nearest pixels of each axis, at s = (i + 1/2) h / 299 - 1/2, as torch does by default.

    An image that shrinks loses the pixels in between.
    """
    return F.interpolate(x, (INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False)


def antialiased_bilinear(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c side side"]:
    """As `bilinear` for an image that grows; one that shrinks has all its pixels weighed by a wider triangle."""
    return F.interpolate(x, (INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False, antialias=True)


def antialiased_bicubic(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c side side"]:
    """As Pillow resizes a channel of floats by its BICUBIC: values beyond 0 and 255 stay (Parmar et al. 2022).

    Pillow sums in float64, and so does this: on the CPU where the device has none, as Apple's.
    """
    home = x.device if x.device.type in ("cpu", "cuda") else torch.device("cpu")
    wide = F.interpolate(
        x.to(home).double(), (INCEPTION_SIZE, INCEPTION_SIZE), mode="bicubic", align_corners=False, antialias=True
    )
    return wide.to(x.dtype).to(x.device)
