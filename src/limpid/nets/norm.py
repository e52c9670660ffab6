"""Group normalisation (Wu and He 2018) and the silu after it, each by the way that is quick where it is computed."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ImageBatch: TypeAlias = Float[Tensor, "b c h w"]
PerChannel: TypeAlias = Float[Tensor, "b c"]
BLOCKWISE_ABOVE = 2**20
"""Numbers of a map from which it is worth while to go over it block by block."""
BLOCK_NUMBERS = 2**18
"""Numbers of a block, 1 MB: what is made of it stays in a core's cache, or near."""


def groups(channels: int) -> int:
    """The number of groups of a norm: the largest divisor of `channels` up to 32 that leaves 4 channels or more each.

    32 is the paper's, and 4 what that gives the paper's narrowest map; below 8 channels there is one group.
    """
    return max(n for n in range(1, max(1, min(32, channels // 4)) + 1) if channels % n == 0)


class GroupNorm(nn.Module):
    """Group normalisation, its statistics in float32 and its answer in the dtype and layout of x."""

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__()
        self.groups, self.eps = groups(channels), eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: ImageBatch) -> ImageBatch:
        """`x` with mean 0 and variance 1 in each group, times the weight, plus the bias."""
        if self.training and use_blockwise(x):
            return self._blockwise(x, None, None, None, activated=False)
        return in_parts(self._whole, x)

    def _whole(self, x: ImageBatch) -> ImageBatch:
        if x.device.type != "cpu":
            # The library returns another layout than it was given, with a copy around every convolution; the formula
            # keeps it, and compiles to one kernel.
            return group_norm(x.float(), self.groups, self.weight.float(), self.bias.float(), self.eps).to(x.dtype)
        # The library's float32 kernel is quick and its bfloat16 one is not.
        evens = not (self.training or torch.compiler.is_compiling())
        wide = evened(x.float(), torch.get_num_threads()) if evens else x.float()
        y = F.group_norm(wide, self.groups, self.weight.float(), self.bias.float(), self.eps)
        return (y if len(y) == len(x) else y[: len(x)]).to(x.dtype)

    def silu(
        self,
        x: ImageBatch,
        shift_in: PerChannel | None = None,
        scale: PerChannel | None = None,
        shift: PerChannel | None = None,
    ) -> ImageBatch:
        """silu((1 + scale) norm(x + before) + shift), where what is not given is 0.

        While training, the size of the whole batch chooses the way to compute it, which rounds in another manner; else
        the bits of an image do not depend on its batch.
        """
        if self.training and use_blockwise(x):
            return self._blockwise(x, shift_in, scale, shift, activated=True)
        return in_parts(self._silu, x, shift_in, scale, shift)

    def _silu(
        self, x: ImageBatch, before: PerChannel | None, scale: PerChannel | None, shift: PerChannel | None
    ) -> ImageBatch:
        y = self._whole(x if before is None else x + before[:, :, None, None])
        if scale is not None and shift is not None:
            y = torch.addcmul(shift[:, :, None, None], y, 1 + scale[:, :, None, None])
        return F.silu(y)

    def _blockwise(
        self,
        x: ImageBatch,
        before: PerChannel | None,
        scale: PerChannel | None,
        shift: PerChannel | None,
        activated: bool,
    ) -> ImageBatch:
        zero = self.bias.new_zeros(x.shape[:2])
        before, shift = (zero if value is None else value.float() for value in (before, shift))
        factor = 1.0 if scale is None else 1 + scale.float()
        weight, bias = self.weight * (factor + zero), self.bias * factor + shift
        return Blockwise.apply(x, before, weight, bias, self.groups, self.eps, activated)


def use_blockwise(x: ImageBatch) -> bool:
    """Whether a map is better gone over block by block."""
    fits = x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.numel() >= BLOCKWISE_ABOVE
    return fits and not torch.compiler.is_compiling()


def in_parts(layer: Callable[..., ImageBatch], x: ImageBatch, *told: PerChannel | None) -> ImageBatch:
    """layer(x, *told); for large maps without gradients a few images at a time, in the cache: half the time, and the
    same bits where each image is computed by itself."""
    if torch.is_grad_enabled() or not use_blockwise(x):
        return layer(x, *told)
    out = torch.empty_like(x)
    for part in cache_blocks(len(x), x[0].numel()):
        out[part] = layer(x[part], *(value if value is None else value[part] for value in told))
    return out


def evened(x: ImageBatch, threads: int) -> ImageBatch:
    """`x` with its last image repeated until every thread has as many images.

    The library cuts the pixels of a batch into equal parts: an image that lies in two of them has other last bits.
    """
    missing = -len(x) % threads
    return torch.cat([x, *(x[-1:] for _ in range(missing))]) if missing else x


def group_norm(
    x: ImageBatch, groups: int, weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], eps: float
) -> ImageBatch:
    """`F.group_norm` as a formula, which keeps the layout of `x`."""
    grouped = x.unflatten(1, (groups, -1))
    var, mean = torch.var_mean(grouped, dim=(2, 3, 4), correction=0, keepdim=True)
    normed = ((grouped - mean) * torch.rsqrt(var + eps)).flatten(1, 2)
    return torch.addcmul(bias[:, None, None], normed, weight[:, None, None])


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
