"""The gradient of the weights of 3x3 convolutions on small maps, as nine matrix products in bfloat16 on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

from limpid.nets.types import ImageBatch

Kernels = Float[Tensor, "o c 3 3"]
SMALL_MAP, WIDE_KERNEL = 8 * 8, 256 * 256
"""Pixels up to which, and input times output channels from which, matrix products are faster than torch's kernel."""


def use_small_maps(x: ImageBatch, weight: Kernels) -> bool:
    """Whether `conv3x3_small_maps` is faster: its backward pass alone is, so only where gradients are computed."""
    small = x.shape[2] * x.shape[3] <= SMALL_MAP and weight.shape[0] * weight.shape[1] >= WIDE_KERNEL
    bfloat16 = x.device.type == "cpu" and x.dtype == torch.bfloat16 and torch.is_autocast_enabled("cpu")
    return small and bfloat16 and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def conv3x3_small_maps(x: ImageBatch, weight: Kernels, bias: Float[Tensor, " o"] | None) -> ImageBatch:
    """`F.conv2d` with padding 1, in the dtype of `x`."""
    assert bias is not None
    return Conv3x3SmallMaps.apply(x, weight.to(x.dtype), bias.to(x.dtype))


class Conv3x3SmallMaps(torch.autograd.Function):
    """A 3x3 convolution of small maps in bfloat16 on a CPU.

    Torch takes four to five times as long for the gradient of the weights as for the output; here that gradient is nine
    matrix products, which take a quarter to half of torch's time.
    """

    @staticmethod
    def forward(ctx: Any, x: ImageBatch, weight: Kernels, bias: Float[Tensor, " o"]) -> ImageBatch:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: ImageBatch
    ) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        dx = conv2d_input(list(x.shape), weight, gradient, padding=1) if needs_x else None
        dweight = weight_gradient(x, gradient) if needs_weight else None
        return dx, dweight, gradient.sum((0, 2, 3)) if needs_bias else None


def weight_gradient(x: ImageBatch, gradient: ImageBatch) -> Kernels:
    """The gradient of the weights of a 3x3 convolution, from its input and the gradient of its output.

    With a zero pixel after each row, and a zero row after each map, the input pixels of each of the nine taps lie at a
    fixed offset from the output pixels, so no tap needs a copy.
    """
    pixels, dy = pad_and_flatten(x), pad_and_flatten(gradient)
    margin = x.shape[3] + 2
    inner = len(pixels) - 2 * margin
    dy = dy[margin:-margin].T.contiguous()
    taps = torch.empty(3, 3, gradient.shape[1], x.shape[1], dtype=x.dtype)
    for row in range(3):
        for column in range(3):
            first = margin + (row - 1) * (x.shape[3] + 1) + column - 1
            torch.mm(dy, pixels[first : first + inner], out=taps[row, column])
    return taps.permute(2, 3, 0, 1)


def pad_and_flatten(x: ImageBatch) -> Float[Tensor, "n c"]:
    """The pixels of all maps as rows, with a zero pixel after each row of a map and a zero row after each map, and a
    margin of zeros at both ends as wide as a tap reaches."""
    b, c, h, w = x.shape
    margin = w + 2
    rows = x.new_zeros(b * (h + 1) * (w + 1) + 2 * margin, c)
    rows[margin:-margin].view(b, h + 1, w + 1, c)[:, :h, :w] = x.permute(0, 2, 3, 1)
    return rows
