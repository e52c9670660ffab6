"""Group normalisation and silu on a CPU; of large bfloat16 maps, block by block in the cache."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from limpid.nets.types import ImageBatch, PerChannel

BLOCKWISE_ABOVE = 2**20
"""Values of a map from which blocks are faster."""
BLOCK_NUMBERS = 2**18
"""Values of a block, 1 MB in float32: it stays in a core's cache, or near."""


def norm(
    x: ImageBatch, groups: int, weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], eps: float, training: bool
) -> ImageBatch:
    """`F.group_norm` in float32, its output in the dtype of `x`."""
    if training and use_blockwise(x):
        return _modulated_blockwise(x, groups, weight, bias, eps, None, None, None, activated=False)
    return in_parts(lambda part: _norm(part, groups, weight, bias, eps, training), x)


def norm_silu(
    x: ImageBatch,
    groups: int,
    weight: Float[Tensor, " c"],
    bias: Float[Tensor, " c"],
    eps: float,
    training: bool,
    shift_in: PerChannel | None,
    scale: PerChannel | None,
    shift: PerChannel | None,
) -> ImageBatch:
    """silu((1 + scale) norm(x + shift_in) + shift), where None is 0.

    While training, the size of the whole batch chooses the kernel, and kernels round differently; else the bits of an
    image do not depend on its batch.
    """
    if training and use_blockwise(x):
        return _modulated_blockwise(x, groups, weight, bias, eps, shift_in, scale, shift, activated=True)

    def plain(
        part: ImageBatch, shift_in: PerChannel | None, scale: PerChannel | None, shift: PerChannel | None
    ) -> ImageBatch:
        shifted = part if shift_in is None else part + shift_in[:, :, None, None]
        y = _norm(shifted, groups, weight, bias, eps, training)
        if scale is not None and shift is not None:
            y = torch.addcmul(shift[:, :, None, None], y, 1 + scale[:, :, None, None])
        return F.silu(y)

    return in_parts(plain, x, shift_in, scale, shift)


def _norm(
    x: ImageBatch, groups: int, weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], eps: float, training: bool
) -> ImageBatch:
    """`F.group_norm` by the library's float32 kernel, since its bfloat16 one is slow."""
    even = not (training or torch.compiler.is_compiling())
    single = x.float()
    wide = padded_to_threads(single, torch.get_num_threads()) if even else single
    y = F.group_norm(wide, groups, weight.float(), bias.float(), eps)
    return (y if wide is single else y[: len(x)]).to(x.dtype)


def _modulated_blockwise(
    x: ImageBatch,
    groups: int,
    weight: Float[Tensor, " c"],
    bias: Float[Tensor, " c"],
    eps: float,
    shift_in: PerChannel | None,
    scale: PerChannel | None,
    shift: PerChannel | None,
    *,
    activated: bool,
) -> ImageBatch:
    """The same by `Blockwise`, with scale and shift taken into the weight and bias of each image."""
    zero = bias.new_zeros(x.shape[:2])
    shift_in, shift = (zero if value is None else value.float() for value in (shift_in, shift))
    factor = 1.0 if scale is None else 1 + scale.float()
    return Blockwise.apply(x, shift_in, weight * (factor + zero), bias * factor + shift, groups, eps, activated)


def in_parts(layer: Callable[..., ImageBatch], x: ImageBatch, *modulation: PerChannel | None) -> ImageBatch:
    """layer(x, *modulation); for large maps without gradients a few images at a time, in the cache: half the time, and
    the same bits where each image is computed by itself."""
    if torch.is_grad_enabled() or not use_blockwise(x):
        return layer(x, *modulation)
    out = torch.empty_like(x)
    for part in cache_blocks(len(x), x[0].numel()):
        out[part] = layer(x[part], *(value if value is None else value[part] for value in modulation))
    return out


def padded_to_threads(x: ImageBatch, threads: int) -> ImageBatch:
    """`x` with its last image repeated until every thread has as many images.

    The library divides the values of a batch into equal parts: an image that lies in two of them has other last bits.
    """
    missing = -len(x) % threads
    return torch.cat([x, *(x[-1:] for _ in range(missing))]) if missing else x


def use_blockwise(x: ImageBatch) -> bool:
    """Whether a map is computed faster block by block."""
    fits = x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.numel() >= BLOCKWISE_ABOVE
    return fits and not torch.compiler.is_compiling()


class Blockwise(torch.autograd.Function):
    """weight norm(x + shift_in) + bias, and if `activated` the silu of it, for large maps of bfloat16 on a CPU.

    The library's kernels each pass over the map in memory; here all of them pass over one block of a few images after
    another, in the cache. Only `x` is saved for the backward pass, half of what they save, and all values between are
    in float32: gradients of weights are exact up to its rounding.
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
    step = max(1, BLOCK_NUMBERS * torch.get_num_threads() // size)
    return [slice(i, i + step) for i in range(0, count, step)]


def scale_groups(factor: Float[Tensor, "b g 1"], value: PerChannel) -> PerChannel:
    """Each channel's value times the factor of its group."""
    return (value.unflatten(1, (factor.shape[1], -1)) * factor).flatten(1)


def group_means(value: PerChannel, factor: Float[Tensor, "b g 1"]) -> PerChannel:
    """For each channel the mean of its group, times the group's factor."""
    grouped = value.unflatten(1, (factor.shape[1], -1))
    return (grouped.mean(2, keepdim=True) * factor).expand_as(grouped).flatten(1)
