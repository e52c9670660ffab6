"""Group normalisation (Wu and He 2018) and the silu after it, each by the way that is quick where it is computed."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limpid.nets.kernels.group_norm_cpu import Blockwise, cache_blocks, use_blockwise
from limpid.nets.types import ImageBatch, PerChannel


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
