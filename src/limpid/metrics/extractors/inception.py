"""The Inception network of FID: TensorFlow's graph of 2015-12-05, with the names of its published PyTorch weights.

It is Inception-v3 (Szegedy et al. 2016, figures 5 to 7 and 10) with three differences that change its features: average
pooling does not count the padding, the last block uses max pooling where the paper has average pooling, and there are
1008 classes, of which 1000 are in use.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from limpid.nets.types import FeatureMap

FEATURES, CLASSES = 2048, 1008
EPSILON = 1e-3
"""Epsilon of every batch norm of the graph."""

Pool: TypeAlias = Callable[[Tensor], Tensor]
Kernel: TypeAlias = tuple[int, int, int]
"""Output channels of a convolution, and the height and width of its kernel."""
Branches: TypeAlias = dict[str, list[list[Kernel]]]
"""By name: the stages of a branch in order, each of one convolution or, in the last stage, of two in parallel."""


def avg_pool3x3(x: FeatureMap) -> FeatureMap:
    """The mean over the 3x3 neighbourhood of each pixel, without the padding."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


max_pool3x3 = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
max_pool3x3_stride2 = partial(F.max_pool2d, kernel_size=3, stride=2)


class BasicConv2d(nn.Module):
    """A convolution, a batch norm and a ReLU.

    Padding preserves the size of the maps; if `inside`, or with a stride of 2, there is no padding.
    """

    def __init__(self, width: int, kernel: Kernel, stride: int = 1, inside: bool = False):
        super().__init__()
        out, height, across = kernel
        padding = (0, 0) if inside or stride > 1 else (height // 2, across // 2)
        self.conv = nn.Conv2d(width, out, (height, across), stride, padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(out, eps=EPSILON)

    def forward(self, x: FeatureMap) -> FeatureMap:
        return F.relu_(self.bn(self.conv(x)))

    def fold(self) -> None:
        """Fold the batch norm into the convolution; the output is the same up to rounding."""
        assert isinstance(self.bn, nn.BatchNorm2d)
        self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()


class InceptionBlock(nn.Module):
    """Parallel branches of the same input, concatenated along the channels; the input of `branch_pool` is pooled first.

    A stride of 2 applies to the last stage of each branch.
    """

    def __init__(self, width: int, branches: Branches, pool: Pool = avg_pool3x3, stride: int = 1):
        super().__init__()
        self.pool = pool
        self.stages: dict[str, list[list[str]]] = {}
        for branch, stages in branches.items():
            channels, self.stages[branch] = width, []
            for i, stage in enumerate(stages, 1):
                name = branch if len(stages) == 1 else f"{branch}_{i}"
                units = [name] if len(stage) == 1 else [f"{name}a", f"{name}b"]
                for unit, kernel in zip(units, stage, strict=True):
                    self.add_module(unit, BasicConv2d(channels, kernel, stride if i == len(stages) else 1))
                self.stages[branch].append(units)
                channels = stage[0][0]

    def forward(self, x: FeatureMap) -> FeatureMap:
        outputs = []
        for branch, stages in self.stages.items():
            maps = [self.pool(x) if branch == "branch_pool" else x]
            for stage in stages:
                maps = [self.get_submodule(unit)(maps[0]) for unit in stage]
            outputs += maps
        return torch.cat(outputs, 1)


def inception_a(pooled: int) -> Branches:
    """Branches for the 35 x 35 maps (figure 5, but with a 5x5 convolution for its single 3x3)."""
    return {
        "branch1x1": [[(64, 1, 1)]],
        "branch5x5": [[(48, 1, 1)], [(64, 5, 5)]],
        "branch3x3dbl": [[(64, 1, 1)], [(96, 3, 3)], [(96, 3, 3)]],
        "branch_pool": [[(pooled, 1, 1)]],
    }


def inception_c(c: int) -> Branches:
    """Branches for the 17 x 17 maps (figure 6 with n = 7): 7x7 convolutions as pairs of 1x7 and 7x1, with `c` channels
    in between."""
    across, down = (c, 1, 7), (c, 7, 1)
    return {
        "branch1x1": [[(192, 1, 1)]],
        "branch7x7": [[(c, 1, 1)], [across], [(192, 7, 1)]],
        "branch7x7dbl": [[(c, 1, 1)], [down], [across], [down], [(192, 1, 7)]],
        "branch_pool": [[(192, 1, 1)]],
    }


# Branches for the 8 x 8 maps (figure 7), and for the two blocks that reduce the maps (figure 10).
INCEPTION_E: Branches = {
    "branch1x1": [[(320, 1, 1)]],
    "branch3x3": [[(384, 1, 1)], [(384, 1, 3), (384, 3, 1)]],
    "branch3x3dbl": [[(448, 1, 1)], [(384, 3, 3)], [(384, 1, 3), (384, 3, 1)]],
    "branch_pool": [[(192, 1, 1)]],
}
INCEPTION_B: Branches = {
    "branch3x3": [[(384, 3, 3)]],
    "branch3x3dbl": [[(64, 1, 1)], [(96, 3, 3)], [(96, 3, 3)]],
    "branch_pool": [],
}
INCEPTION_D: Branches = {
    "branch3x3": [[(192, 1, 1)], [(320, 3, 3)]],
    "branch7x7x3": [[(192, 1, 1)], [(192, 1, 7)], [(192, 7, 1)], [(192, 3, 3)]],
    "branch_pool": [],
}


class Inception(nn.Module):
    """Maps images of 299 x 299, in about -1..1, to 2048 features; `fc` maps features to the logits of 1008 classes."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, (32, 3, 3), stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, (32, 3, 3), inside=True)
        self.Conv2d_2b_3x3 = BasicConv2d(32, (64, 3, 3))
        self.Conv2d_3b_1x1 = BasicConv2d(64, (80, 1, 1))
        self.Conv2d_4a_3x3 = BasicConv2d(80, (192, 3, 3), inside=True)
        self.Mixed_5b = InceptionBlock(192, inception_a(32))
        self.Mixed_5c = InceptionBlock(256, inception_a(64))
        self.Mixed_5d = InceptionBlock(288, inception_a(64))
        self.Mixed_6a = InceptionBlock(288, INCEPTION_B, max_pool3x3_stride2, stride=2)
        self.Mixed_6b = InceptionBlock(768, inception_c(128))
        self.Mixed_6c = InceptionBlock(768, inception_c(160))
        self.Mixed_6d = InceptionBlock(768, inception_c(160))
        self.Mixed_6e = InceptionBlock(768, inception_c(192))
        self.Mixed_7a = InceptionBlock(768, INCEPTION_D, max_pool3x3_stride2, stride=2)
        self.Mixed_7b = InceptionBlock(1280, INCEPTION_E)
        self.Mixed_7c = InceptionBlock(2048, INCEPTION_E, max_pool3x3)
        self.fc = nn.Linear(FEATURES, CLASSES)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "b 3 299 299"]) -> Float[Tensor, "b 2048"]:
        """The features: means of the last maps over their 8 x 8 positions."""
        x = x.contiguous(memory_format=torch.channels_last)
        x = max_pool3x3_stride2(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = max_pool3x3_stride2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))

    @torch.no_grad()
    def logits_without_bias(self, features: Float[Tensor, "b 2048"]) -> Float[Tensor, "b 1008"]:
        """The logits without the bias of `fc`, as in the first code of the Inception score (Salimans et al. 2016)."""
        return features @ self.fc.weight.T

    def fold(self) -> "Inception":
        """Fold the batch norms into the convolutions and return the network: faster, and equal up to rounding."""
        for unit in self.modules():
            if isinstance(unit, BasicConv2d):
                unit.fold()
        return self
