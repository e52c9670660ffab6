"""The U-Net of DDPM (Ho et al. 2020), with the changes of DDPM++ (Song et al. 2021) and ADM (Dhariwal and Nichol 2021).

Down through ever smaller maps, through a middle, and up again; every map made on the way down is kept, and joined to
the one that a block receives on the way up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from limpid.nets.arch import ARCHS, Arch, ArchName
from limpid.nets.blocks import (
    Attention,
    Downsample,
    Embedding,
    Map,
    Residual,
    Upsample,
    check_size,
    double,
    halve,
)
from limpid.nets.conv import Conv3
from limpid.nets.norm import GroupNorm, Pictures

MOST = 100
"""Blocks of a level: more is a mistake, or a forged checkpoint that would be built for hours."""


@dataclass(frozen=True)
class UNet:
    """A U-Net; as it stands, DDPM's for 32x32, of 35.7M parameters."""

    width: int = 128
    """Channels of the first level."""
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    """Channels of each level, in widths; each level has half the height and width of the one before."""
    blocks: int | tuple[int, ...] = 2
    """Residual blocks of each level on the way down, or one number for all; on the way up there is one more."""
    attention: tuple[int, ...] = (16,)
    """Shorter edges of the maps in which pixels attend to each other; in the middle they always do."""
    dropout: float = 0.1
    patch: int = 1
    """Edge of the squares of pixels that become one pixel of the first level: 2 makes it about four times as fast."""
    scale_shift: bool = False
    """Let the embedding scale and shift what a norm returns (ADM) instead of adding it before."""
    head_width: int = 0
    """Channels of each head of attention (ADM: 64); 0 is one head."""
    resample: Literal["conv", "biggan"] = "conv"
    """Between levels: a convolution, or a residual block that resamples in both branches (DDPM++, ADM)."""
    arch: ArchName = "ddpm"
    """The paper whose code decides the rest, from where labels enter to the first weights: DDPM, improved DDPM, or EDM
    with its DDPM++."""

    @property
    def each_blocks(self) -> tuple[int, ...]:
        """The blocks of each level."""
        return self.blocks if isinstance(self.blocks, tuple) else (self.blocks,) * len(self.multipliers)

    def build(self, shape: tuple[int, int, int], classes: int, answers: int = 1) -> nn.Module:
        """The network for pictures of `shape` (channels, height, width), untrained.

        It answers with the channels of so many pictures, one after another.
        Raises ValueError where the size is no multiple of the network's stride, or a field does not fit the others.
        """
        if self.arch not in ARCHS:
            raise ValueError(f"no arch {self.arch!r}: choose from {', '.join(ARCHS)}")
        if min(*self.each_blocks, self.patch, *self.multipliers, len(self.multipliers)) < 1:
            given = f"blocks {self.blocks}, patch {self.patch}, multipliers {self.multipliers}"
            raise ValueError(f"{given}: expected whole numbers from 1 up, and one multiplier or more")
        if len(self.each_blocks) != len(self.multipliers) or max(self.each_blocks) > MOST:
            raise ValueError(f"blocks {self.blocks}: expected at most {MOST}, for {len(self.multipliers)} levels")
        if self.width < 4 or self.width % 2:
            raise ValueError(f"width {self.width}: expected an even number from 4 up")
        if self.head_width < 0 or (self.head_width and self.width % self.head_width):
            raise ValueError(
                f"heads of {self.head_width} channels: expected a divisor of the width, {self.width}, or 0"
            )
        strides = [self.patch * 2**level for level in range(len(self.multipliers))]
        check_size(shape, strides[-1])
        edges = [min(shape[1:]) // stride for stride in strides]
        if missing := set(self.attention) - set(edges):
            raise ValueError(f"no map has an edge of {max(missing)}: attention can be at {', '.join(map(str, edges))}")
        net = UNetModule(self, shape[0], [edge in self.attention for edge in edges], classes, answers)
        initialise(net, ARCHS[self.arch])
        return net


class Block(nn.Module):
    """A residual block, and attention after it where the level has some."""

    def __init__(self, config: UNet, channels_in: int, channels_out: int, attends: bool):
        super().__init__()
        heads = channels_out // config.head_width if config.head_width else 1
        arch = ARCHS[config.arch]
        self.residual = Residual(channels_in, channels_out, config.dropout, config.scale_shift, arch=arch)
        self.attention = Attention(channels_out, heads, arch) if attends else nn.Identity()
        self.told = self.residual.told

    def forward(self, x: Map, told: Float[Tensor, "b _"]) -> Map:
        """The next map."""
        return self.attention(self.residual(x, told))


class UNetModule(nn.Module):
    """What `UNet` builds: net(x, c_noise, labels) -> y."""

    def __init__(self, config: UNet, channels: int, attends: list[bool], classes: int, answers: int):
        super().__init__()
        widths, arch = [config.width * m for m in config.multipliers], ARCHS[config.arch]
        self.patch = config.patch
        here = widths[0] if arch.enter == "level" else config.width
        self.enter = Conv3(channels * config.patch**2, here)
        down, up, kept = [], [], [here]
        for level, width in enumerate(widths):
            if level > 0:
                down.append(_smaller(config, here))
                kept.append(here)
            for _ in range(config.each_blocks[level]):
                down.append(Block(config, here, width, attends[level]))
                here = width
                kept.append(here)
        middle = [Block(config, here, here, attends=True), Block(config, here, here, attends=False)]
        for level, width in reversed(list(enumerate(widths))):
            for left in reversed(range(config.each_blocks[level] + 1)):
                attends_here = attends[level] and (arch.attention_up == "all" or left == 0)
                up.append(Block(config, here + kept.pop(), width, attends_here))
                here = width
            if level > 0:
                up.append(_larger(config, here))
        self.down, self.middle, self.up = nn.ModuleList(down), nn.ModuleList(middle), nn.ModuleList(up)
        self.norm = GroupNorm(here, arch.norm_eps)
        self.leave = Conv3(here, answers * channels * config.patch**2)
        told = [part.told for part in (*down, *middle, *up)]
        self.embedding = Embedding(config.width, 4 * config.width, classes, told, arch)

    def forward(self, x: Pictures, c_noise: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None) -> Pictures:
        """The answer for each picture of `x`, told its level of noise and its label."""
        told = iter(self.embedding(c_noise, labels))
        x = self.enter(F.pixel_unshuffle(x, self.patch))
        kept = [x]
        for part in self.down:
            x = part(x, next(told))
            kept.append(x)
        for part in self.middle:
            x = part(x, next(told))
        for part in self.up:
            if isinstance(part, Block):
                x = torch.cat((x, kept.pop()), dim=1)
            x = part(x, next(told))
        return F.pixel_shuffle(self.leave(self.norm.silu(x)), self.patch)


def _smaller(config: UNet, channels: int) -> Downsample | Residual:
    if config.resample == "conv":
        return Downsample(channels, ARCHS[config.arch])
    return Residual(channels, channels, config.dropout, config.scale_shift, halve, ARCHS[config.arch])


def _larger(config: UNet, channels: int) -> Upsample | Residual:
    if config.resample == "conv":
        return Upsample(channels)
    return Residual(channels, channels, config.dropout, config.scale_shift, double, ARCHS[config.arch])


@torch.no_grad()
def initialise(net: UNetModule, arch: Arch) -> None:
    """The first weights of `arch`; where a branch or the network ends they are small or zero, and their biases zero.

    The table of labels keeps the normal distribution that torch gives it, as in ADM.
    """
    if arch.init == "xavier":
        _xavier(net, arch.qkv_gain)
    parts = list(net.modules())
    ends = [part.conv2 for part in parts if isinstance(part, Residual)]
    ends += [part.out for part in parts if isinstance(part, Attention)]
    for end in (*ends, net.leave):
        assert end.bias is not None
        nn.init.zeros_(end.bias)
        if arch.end_gain:
            end.weight.mul_(arch.end_gain)
        else:
            nn.init.zeros_(end.weight)


def _xavier(net: UNetModule, qkv_gain: float) -> None:
    """Draws every matrix uniformly with variance 2 / (fan in + fan out), as DDPM's; every bias is zero."""
    for name, bias in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(bias)
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
    for part in net.modules():
        if isinstance(part, Attention):
            _xavier_each(part.qkv.weight.chunk(3), qkv_gain)
    _xavier_each(net.embedding.parts.weight.split(net.embedding.told))


def _xavier_each(matrices: Sequence[Tensor], gain: float = 1.0) -> None:
    """Draws matrices that lie together in one as if each were alone: the fan out of each is its own."""
    for matrix in matrices:
        if len(matrix):
            nn.init.xavier_uniform_(matrix, gain)
