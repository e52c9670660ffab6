"""Feature maps at half and twice their height and width: by 2x2 averages, or by the filter [1, 3, 3, 1] of NCSN++."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limpid.nets.types import FeatureMap, ImageBatch


def downsample2x(x: FeatureMap) -> FeatureMap:
    """`x` at half its height and width, by 2x2 average pooling."""
    return F.avg_pool2d(x, 2)


def upsample2x(x: FeatureMap) -> FeatureMap:
    """`x` at twice its height and width, every pixel repeated."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def smooth_downsample2x(x: FeatureMap, padding: int = 1) -> FeatureMap:
    """`x` at half its height and width, smoothed, with `padding` zeros around it (Song et al. 2021; Zhang 2019)."""
    return F.conv2d(x, _smoothing(x), stride=2, padding=padding, groups=x.shape[1])


def smooth_upsample2x(x: FeatureMap) -> FeatureMap:
    """`x` at twice its height and width, smoothed, with zeros around it."""
    return F.conv_transpose2d(x, 4 * _smoothing(x), stride=2, padding=1, groups=x.shape[1])


def _smoothing(x: FeatureMap) -> Tensor:
    """The filter [1, 3, 3, 1] / 8 in both directions, for each channel of `x`."""
    taps = F.pad(x.new_full((2,), 3 / 8), (1, 1), value=1 / 8)
    return torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)


RESAMPLINGS = {"average": (downsample2x, upsample2x), "smooth": (smooth_downsample2x, smooth_upsample2x)}
"""The functions that downsample and upsample a feature map by 2, by the name of their filter."""


class SmoothConvDownsample(nn.Conv2d):
    """A 3x3 convolution, then smoothing at half the height and width.

    The convolution is padded by 2, so that the smoothing needs no zero padding (StyleGAN2; Karras et al. 2020).
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3, padding=2)

    def forward(self, input: ImageBatch) -> ImageBatch:
        """The map at half its height and width."""
        return smooth_downsample2x(super().forward(input), padding=0)
