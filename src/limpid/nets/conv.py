"""Convolutions of 3x3 that keep height and width, and a quicker way to the gradient of their weights on small maps."""

import torch
from torch import nn

from limpid.nets.kernels.conv3x3_cpu import Conv3x3SmallMaps
from limpid.nets.types import ImageBatch

SMALL, WIDE = 8 * 8, 256 * 256
"""Pixels of a map up to which, and weights of each tap from which, matrix products beat the library on a CPU."""


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution that keeps height and width."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3, padding=1)

    def forward(self, input: ImageBatch) -> ImageBatch:
        """The next map."""
        small = input.shape[2] * input.shape[3] <= SMALL and self.in_channels * self.out_channels >= WIDE
        narrow = input.device.type == "cpu" and input.dtype == torch.bfloat16 and torch.is_autocast_enabled("cpu")
        if small and narrow and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            assert self.bias is not None
            return Conv3x3SmallMaps.apply(input, self.weight.to(input.dtype), self.bias.to(input.dtype))
        return super().forward(input)
