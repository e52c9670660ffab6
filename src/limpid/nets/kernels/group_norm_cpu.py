"""Group normalisation and silu of large bfloat16 maps, block by block in the cache of a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from limpid.nets.types import ImageBatch, PerChannel

BLOCKWISE_ABOVE = 2**20
"""Numbers of a map from which it is worth while to go over it block by block."""


BLOCK_NUMBERS = 2**18
"""Numbers of a block, 1 MB: what is made of it stays in a core's cache, or near."""


def use_blockwise(x: ImageBatch) -> bool:
    """Whether a map is better gone over block by block."""
    fits = x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.numel() >= BLOCKWISE_ABOVE
    return fits and not torch.compiler.is_compiling()


class Blockwise(torch.autograd.Function):
    """weight norm(x + before) + bias, and if `activated` the silu of it, for large maps of bfloat16 on a CPU.

    The library's kernels go over the whole map each, in memory; here they go over one block of a few pictures after
    another, in the cache. Nothing but `x` is kept for the way back, half of what they keep, and all in between is in
    float32: gradients of weights are exact up to its rounding.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: ImageBatch,
        before: PerChannel,
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
            mean = torch.add(before[part], total[part], alpha=1 / (h * w)).unflatten(1, (groups, -1))
            offset[part] = (before[part] - mean.mean(2, keepdim=True).expand_as(mean).flatten(1))[:, None]
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
        pixels, theirs, out = flatten_pixels(x), flatten_pixels(gradient), torch.empty(b, h * w, c, dtype=x.dtype)
        d_before, d_weight, d_bias = (torch.empty(b, c) for _ in range(3))
        for part in cache_blocks(b, c * h * w):
            centred = pixels[part].float().add_(offset[part])
            gain = scale_groups(rstd[part], weight[part])
            y = torch.addcmul(bias[part, None], centred, gain[:, None])
            dy = theirs[part].float()
            dy = torch.ops.aten.silu_backward(dy, y) if ctx.activated else dy
            torch.sum(dy, 1, out=d_bias[part])
            torch.mul(dy, centred, out=y)
            d_weight[part] = scale_groups(rstd[part], y.sum(1))
            # With z the normed map: dx = gain dy - rstd (mean of weight dy) - rstd z (mean of weight dy z), by groups.
            level = -group_means(weight[part] * d_bias[part], rstd[part]) / (h * w)
            slope = -group_means(weight[part] * d_weight[part], rstd[part].square()) / (h * w)
            dx = torch.addcmul(level[:, None], centred, slope[:, None], out=y).addcmul_(dy, gain[:, None])
            d_before[part] = gain * d_bias[part] + slope * (total[part] + h * w * offset[part, 0]) + h * w * level
            out[part] = dx
        return out.view(b, h, w, c).permute(0, 3, 1, 2), d_before, d_weight, d_bias, None, None, None


def flatten_pixels(x: ImageBatch) -> Float[Tensor, "b n c"]:
    """The pixels of each map, one after the other; a view where channels are last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def cache_blocks(count: int, size: int) -> list[slice]:
    """Slices of so many maps of that size, each small enough for the caches of all cores together."""
    step = max(1, BLOCK_NUMBERS * torch.get_num_threads() // size)
    return [slice(i, i + step) for i in range(0, count, step)]


def scale_groups(factor: Float[Tensor, "b g 1"], value: PerChannel) -> PerChannel:
    """Each channel's value times the factor of its group."""
    return (value.unflatten(1, (factor.shape[1], -1)) * factor).flatten(1)


def group_means(value: PerChannel, factor: Float[Tensor, "b g 1"]) -> PerChannel:
    """For each channel the mean of its group, times the group's factor."""
    grouped = value.unflatten(1, (factor.shape[1], -1))
    return (grouped.mean(2, keepdim=True) * factor).expand_as(grouped).flatten(1)
