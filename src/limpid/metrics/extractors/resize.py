"""Resizing of images to the 299 x 299 of Inception's input: four rules in use, whose results differ.

Each keeps the range 0..255 and does not round. For an axis of h pixels, pixel i of the result is sampled at position s
of the image: s = i h / 299 for TensorFlow 1, s = (i + 1/2) h / 299 - 1/2 for the others.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

INCEPTION_SIZE = 299
"""Height and width of Inception's input, in pixels."""


def tensorflow_bilinear(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c side side"]:
    """Linear interpolation along each axis at s = i h / 299, the default of TensorFlow 1.

    There are no half-pixel centres: the first pixel of the result is the first of the image, and the last few repeat
    its edge. The sums are in the order of TensorFlow, to give the same bits.
    """
    return _interpolate(_interpolate(x, 3), 2)


def _interpolate(x: Float[Tensor, "b c h w"], axis: int) -> Float[Tensor, "b c h2 w2"]:
    size = x.shape[axis]
    position = torch.arange(INCEPTION_SIZE, dtype=x.dtype, device=x.device) * (size / INCEPTION_SIZE)
    before = position.long()
    after = (before + 1).clamp(max=size - 1)
    weight = (position - before).view(-1, *[1] * (3 - axis))
    low = x.index_select(axis, before)
    return low + (x.index_select(axis, after) - low) * weight


def bilinear(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c side side"]:
    """Linear interpolation along each axis at s = (i + 1/2) h / 299 - 1/2, the default of torch.

    There is no antialiasing: an image larger than 299 is aliased, as the pixels in between are skipped.
    """
    return F.interpolate(x, (INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False)


def antialiased_bilinear(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c side side"]:
    """As `bilinear` for images smaller than 299; for larger ones the triangle filter is widened, so that every pixel
    counts."""
    return F.interpolate(x, (INCEPTION_SIZE, INCEPTION_SIZE), mode="bilinear", align_corners=False, antialias=True)


def antialiased_bicubic(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c side side"]:
    """As Pillow's BICUBIC for channels of floats: values below 0 or above 255 are not clipped (Parmar et al. 2022).

    Sums are in float64, as in Pillow; on the CPU if the device has no float64, as Apple's.
    """
    device = x.device if x.device.type in ("cpu", "cuda") else torch.device("cpu")
    wide = F.interpolate(
        x.to(device).double(), (INCEPTION_SIZE, INCEPTION_SIZE), mode="bicubic", align_corners=False, antialias=True
    )
    return wide.to(x.dtype).to(x.device)
