"""Group normalisation (Wu and He 2018) and the silu after it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limpid.nets.kernels import group_norm_cpu
from limpid.nets.types import ImageBatch, PerChannel


def groups(channels: int) -> int:
    """The number of groups of a norm: the largest divisor of `channels` up to 32 that leaves 4 channels or more each.

    32 is the paper's, and 4 what that gives the paper's narrowest map; below 8 channels there is one group.
    """
    return max(n for n in range(1, max(1, min(32, channels // 4)) + 1) if channels % n == 0)


class GroupNorm(nn.Module):
    """Group normalisation, its statistics in float32 and its output in the dtype and layout of x."""

    def __init__(self, channels: int, eps: float = 1e-6, num_groups: int = 0):
        """`num_groups` 0 is as many as `groups` gives. Raises ValueError unless it divides the channels."""
        super().__init__()
        if num_groups < 0 or (num_groups and channels % num_groups):
            raise ValueError(f"norm_num_groups {num_groups}: expected a divisor of {channels}, the channels of a norm")
        self.groups, self.eps = num_groups or groups(channels), eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: ImageBatch) -> ImageBatch:
        """`x` with mean 0 and variance 1 in each group, times the weight, plus the bias."""
        if x.device.type == "cpu":
            return group_norm_cpu.norm(x, self.groups, self.weight, self.bias, self.eps, self.training)
        return group_norm(x.float(), self.groups, self.weight.float(), self.bias.float(), self.eps).to(x.dtype)

    def silu(
        self,
        x: ImageBatch,
        shift_in: PerChannel | None = None,
        scale: PerChannel | None = None,
        shift: PerChannel | None = None,
    ) -> ImageBatch:
        """silu((1 + scale) norm(x + shift_in) + shift), where None is 0; `scale` and `shift` come together."""
        if x.device.type == "cpu":
            affine = (self.groups, self.weight, self.bias, self.eps, self.training)
            return group_norm_cpu.norm_silu(x, *affine, shift_in, scale, shift)
        y = self(x if shift_in is None else x + shift_in[:, :, None, None])
        if scale is not None and shift is not None:
            y = torch.addcmul(shift[:, :, None, None], y, 1 + scale[:, :, None, None])
        return F.silu(y)


def group_norm(
    x: ImageBatch, groups: int, weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], eps: float
) -> ImageBatch:
    """`F.group_norm` as a formula, which keeps the layout of `x`, channels last or not, and compiles to one kernel.

    The library's kernel on a GPU returns another layout, with a copy around every convolution.
    """
    grouped = x.unflatten(1, (groups, -1))
    var, mean = torch.var_mean(grouped, dim=(2, 3, 4), correction=0, keepdim=True)
    normed = ((grouped - mean) * torch.rsqrt(var + eps)).flatten(1, 2)
    return torch.addcmul(bias[:, None, None], normed, weight[:, None, None])
