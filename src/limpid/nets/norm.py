"""Group normalization (Wu and He 2018) and the silu after it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limpid.nets.kernels import group_norm_cpu
from limpid.nets.types import ImageBatch, PerChannel


def groups(channels: int) -> int:
    """The number of groups of a norm: the largest divisor of `channels` up to 32 with 4 or more channels in each group.

    DDPM has 32 groups, and in its narrowest map 4 channels in each. Below 8 channels there is one group.
    """
    return max(n for n in range(1, max(1, min(32, channels // 4)) + 1) if channels % n == 0)


class GroupNorm(nn.Module):
    """Group normalization with statistics in float32 and the output in the dtype and layout of x."""

    def __init__(self, channels: int, eps: float = 1e-6, num_groups: int = 0):
        """With `num_groups` 0 the number is that of `groups`. Raises ValueError unless it divides the channels."""
        super().__init__()
        if num_groups < 0 or (num_groups and channels % num_groups):
            raise ValueError(f"norm_num_groups {num_groups}: expected a divisor of {channels}, the channels of a norm")
        self.groups, self.eps = num_groups or groups(channels), eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: ImageBatch) -> ImageBatch:
        """`x` with mean 0 and variance 1 in each group, times the weight, plus the bias."""
        if self.training and group_norm_cpu.use_blockwise(x):
            return self._blockwise(x, None, None, None, activated=False)
        return group_norm_cpu.in_cache_blocks(self._norm, x)

    def silu(
        self,
        x: ImageBatch,
        shift_in: PerChannel | None = None,
        scale: PerChannel | None = None,
        shift: PerChannel | None = None,
    ) -> ImageBatch:
        """silu((1 + scale) norm(x + shift_in) + shift), where None is 0; `scale` and `shift` come together.

        On a CPU the size of the batch chooses the kernel while training, and kernels round differently; otherwise the
        bits of an image do not depend on its batch.
        """
        if self.training and group_norm_cpu.use_blockwise(x):
            return self._blockwise(x, shift_in, scale, shift, activated=True)
        return group_norm_cpu.in_cache_blocks(self._norm_silu, x, shift_in, scale, shift)

    def _norm(self, x: ImageBatch) -> ImageBatch:
        inputs = (x.float(), self.groups, self.weight.float(), self.bias.float(), self.eps)
        on_cpu = x.device.type == "cpu"
        y = group_norm_cpu.cpu_group_norm(*inputs, self.training) if on_cpu else group_norm(*inputs)
        return y.to(x.dtype)

    def _norm_silu(
        self, x: ImageBatch, shift_in: PerChannel | None, scale: PerChannel | None, shift: PerChannel | None
    ) -> ImageBatch:
        y = self._norm(x if shift_in is None else x + shift_in[:, :, None, None])
        if scale is not None and shift is not None:
            y = torch.addcmul(shift[:, :, None, None], y, 1 + scale[:, :, None, None])
        return F.silu(y)

    def _blockwise(
        self,
        x: ImageBatch,
        shift_in: PerChannel | None,
        scale: PerChannel | None,
        shift: PerChannel | None,
        *,
        activated: bool,
    ) -> ImageBatch:
        """The same by one kernel on a CPU: scale and shift are merged into a weight and a bias for each image."""
        zero = self.bias.new_zeros(x.shape[:2])
        shift_in, shift = (zero if value is None else value.float() for value in (shift_in, shift))
        factor = 1.0 if scale is None else 1 + scale.float()
        weight, bias = self.weight * (factor + zero), self.bias * factor + shift
        return group_norm_cpu.Blockwise.apply(x, shift_in, weight, bias, self.groups, self.eps, activated)


def group_norm(
    x: ImageBatch, groups: int, weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], eps: float
) -> ImageBatch:
    """`F.group_norm` for GPUs, as a formula that compiles to one kernel.

    It keeps the layout of `x`, channels last or not. Torch's own kernel on a GPU returns another layout, which costs a
    copy around every convolution.
    """
    grouped = x.unflatten(1, (groups, -1))
    var, mean = torch.var_mean(grouped, dim=(2, 3, 4), correction=0, keepdim=True)
    normed = ((grouped - mean) * torch.rsqrt(var + eps)).flatten(1, 2)
    return torch.addcmul(bias[:, None, None], normed, weight[:, None, None])
