"""Group normalization and silu on a CPU; for large bfloat16 feature maps, block by block in the cache."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from limpid.nets.types import ImageBatch, PerChannel

BLOCKWISE_ABOVE = 2**20
"""Values of a batch of feature maps from which blocks are faster."""
BLOCK_SIZE = 2**18
"""Values of a block, 1 MB in float32: it fits in a core's L2 cache, or nearly."""


def cpu_group_norm(
    x: Float[Tensor, "b c h w"],
    groups: int,
    weight: Float[Tensor, " c"],
    bias: Float[Tensor, " c"],
    eps: float,
    training: bool,
) -> ImageBatch:
    """`F.group_norm`; unless `training`, the bits of an image do not depend on its batch.

    In float32, since torch's kernel for bfloat16 is slow.
    """
    if training or torch.compiler.is_compiling():
        return F.group_norm(x, groups, weight, bias, eps)
    padded = pad_to_threads(x, torch.get_num_threads())
    y = F.group_norm(padded, groups, weight, bias, eps)
    return y if padded is x else y[: len(x)]


def in_cache_blocks(layer: Callable[..., ImageBatch], x: ImageBatch, *modulation: PerChannel | None) -> ImageBatch:
    """layer(x, *modulation); for large maps without gradients, a few images at a time, which stay in the cache.

    This takes half the time, and gives the same bits if the layer computes each image by itself.
    """
    if torch.is_grad_enabled() or not use_blockwise(x):
        return layer(x, *modulation)
    out = torch.empty_like(x)
    for part in cache_blocks(len(x), x[0].numel()):
        out[part] = layer(x[part], *(value if value is None else value[part] for value in modulation))
    return out


def pad_to_threads(x: ImageBatch, threads: int) -> ImageBatch:
    """`x` with its last image repeated until the number of images is a multiple of `threads`.

    Torch divides the values of a batch into equal parts: an image that lies in two of them has other last bits.
    """
    missing = -len(x) % threads
    return torch.cat([x, *(x[-1:] for _ in range(missing))]) if missing else x


def use_blockwise(x: ImageBatch) -> bool:
    """Whether feature maps are computed faster block by block."""
    large = x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.numel() >= BLOCKWISE_ABOVE
    return large and not torch.compiler.is_compiling()


class Blockwise(torch.autograd.Function):
    """weight norm(x + shift_in) + bias, and its silu if `activated`, for large bfloat16 feature maps on a CPU.

    Each of torch's kernels passes over the whole map in memory; here all operations are applied to a block of a few
    images while it is in the cache. Only `x` is saved for the backward pass, half of what torch saves, and all values
    in between are in float32, so that gradients of weights are exact up to float32's rounding.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: ImageBatch,
        shift_in: PerChannel,
        weight: PerChannel,
        bias: PerChannel,
        groups: int,
        eps: float,
        activated: bool,
    ) -> ImageBatch:
        b, c, h, w = x.shape
        pixels, out = flatten_pixels(x), torch.empty(b, h * w, c, dtype=x.dtype)
        total, offset, rstd = torch.empty(b, c), torch.empty(b, 1, c), torch.empty(b, groups, 1)
        for part in cache_blocks(b, c * h * w):
            centred = pixels[part].float()
            torch.sum(centred, 1, out=total[part])
            mean = torch.add(shift_in[part], total[part], alpha=1 / (h * w)).unflatten(1, (groups, -1))
            offset[part] = (shift_in[part] - mean.mean(2, keepdim=True).expand_as(mean).flatten(1))[:, None]
            centred += offset[part]
            squares = torch.mul(centred, centred)
            var = squares.sum(1).unflatten(1, (groups, -1)).mean(2, keepdim=True) / (h * w)
            rstd[part] = torch.rsqrt(var + eps)
            gain = scale_groups(rstd[part], weight[part])
            y = torch.addcmul(bias[part, None], centred, gain[:, None], out=squares)
            out[part] = F.silu(y, inplace=True) if activated else y
        ctx.save_for_backward(x, weight, bias, total, offset, rstd)
        ctx.activated = activated
        return out.view(b, h, w, c).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, gradient: ImageBatch
    ) -> tuple[Tensor | None, ...]:
        x, weight, bias, total, offset, rstd = ctx.saved_tensors
        b, c, h, w = x.shape
        pixels, dy_pixels, out = flatten_pixels(x), flatten_pixels(gradient), torch.empty(b, h * w, c, dtype=x.dtype)
        d_shift_in, d_weight, d_bias = (torch.empty(b, c) for _ in range(3))
        for part in cache_blocks(b, c * h * w):
            centred = pixels[part].float().add_(offset[part])
            gain = scale_groups(rstd[part], weight[part])
            y = torch.addcmul(bias[part, None], centred, gain[:, None])
            dy = dy_pixels[part].float()
            dy = torch.ops.aten.silu_backward(dy, y) if ctx.activated else dy
            torch.sum(dy, 1, out=d_bias[part])
            torch.mul(dy, centred, out=y)
            d_weight[part] = scale_groups(rstd[part], y.sum(1))
            # With z the normed map: dx = gain dy - rstd (mean of weight dy) - rstd z (mean of weight dy z), by groups.
            offset_x = -group_means(weight[part] * d_bias[part], rstd[part]) / (h * w)
            slope = -group_means(weight[part] * d_weight[part], rstd[part].square()) / (h * w)
            dx = torch.addcmul(offset_x[:, None], centred, slope[:, None], out=y).addcmul_(dy, gain[:, None])
            d_shift_in[part] = gain * d_bias[part] + slope * (total[part] + h * w * offset[part, 0]) + h * w * offset_x
            out[part] = dx
        return out.view(b, h, w, c).permute(0, 3, 1, 2), d_shift_in, d_weight, d_bias, None, None, None


def flatten_pixels(x: ImageBatch) -> Float[Tensor, "b n c"]:
    """The pixels of each map, one after the other; a view where channels are last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def cache_blocks(count: int, size: int) -> list[slice]:
    """Slices of `count` maps of `size` values, each small enough for the caches of all cores together."""
    step = max(1, BLOCK_SIZE * torch.get_num_threads() // size)
    return [slice(i, i + step) for i in range(0, count, step)]


def scale_groups(factor: Float[Tensor, "b g 1"], value: PerChannel) -> PerChannel:
    """Each channel's value times the factor of its group."""
    return (value.unflatten(1, (factor.shape[1], -1)) * factor).flatten(1)


def group_means(value: PerChannel, factor: Float[Tensor, "b g 1"]) -> PerChannel:
    """For each channel the mean of its group, times the group's factor."""
    grouped = value.unflatten(1, (factor.shape[1], -1))
    return (grouped.mean(2, keepdim=True) * factor).expand_as(grouped).flatten(1)
