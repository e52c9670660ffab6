"""The U-Net of DDPM (Ho et al. 2020).

With the options of DDPM++ and NCSN++ (Song et al. 2021) and of ADM (Dhariwal and Nichol 2021). An encoder downsamples
feature maps level by level, a decoder upsamples them; outputs of the encoder are concatenated to inputs of the decoder.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from limpid.nets.arch import ARCHS, Arch, ArchName
from limpid.nets.blocks import (
    Attention,
    ConditioningEmbedding,
    Downsample,
    ResBlock,
    Upsample,
    check_divisible,
    nearest_size,
    rescale,
)
from limpid.nets.conv import Conv3x3
from limpid.nets.norm import GroupNorm
from limpid.nets.resampling import RESAMPLINGS, SmoothConvDownsample
from limpid.nets.types import FeatureMap, ImageBatch

MAX_BLOCKS = 100
"""Limit of the blocks of a level: more is a mistake, or a forged checkpoint that would take hours to build."""


@dataclass(frozen=True)
class UNet:
    """A U-Net; the defaults are DDPM's for 32x32, with 35.7M parameters."""

    model_channels: int = 128
    """Channels of the first level."""
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)
    """Channels of each level, as multiples of `model_channels`; each level halves height and width."""
    num_blocks: int | tuple[int, ...] = 2
    """Residual blocks of each level of the encoder, or one number for all; the decoder has one more per level."""
    attn_resolutions: tuple[int, ...] = (16,)
    """Resolutions (the shorter side of a feature map) with self-attention; the middle always has it."""
    dropout: float = 0.1
    patch_size: int = 1
    """Side of the patches of pixels that become one pixel of the first level: 2 is about four times as fast as 1."""
    scale_shift: bool = False
    """Whether the embedding scales and shifts the output of a norm (ADM), instead of being added to its input."""
    head_channels: int = 0
    """Channels of each attention head (ADM: 64); 0 is a single head."""
    resample: Literal["conv", "biggan"] = "conv"
    """Resampling between levels: a convolution, or a residual block that resamples in both branches (DDPM++, ADM)."""
    arch: ArchName = "ddpm"
    """The paper whose code decides the other details, such as the label embedding and the initialization.
    DDPM, improved DDPM, DDPM++ or NCSN++ as in EDM, or DDPM as in score_sde."""
    norm_num_groups: int = 0
    """Groups of every group norm; 0 is up to 32, with 4 or more channels in each."""
    fourier_std: float = 0.0
    """Standard deviation of the random frequencies that embed the noise level (EDM2: 1 for ln(sigma) / 4); 0 is the
    embedding of `arch`. For a noise conditioning of a few units, not for timesteps."""

    @property
    def details(self) -> Arch:
        """The details that `arch` decides, with the groups of the norms and the frequencies of the noise level."""
        details = replace(ARCHS[self.arch], norm_num_groups=self.norm_num_groups)
        return replace(details, fourier_std=self.fourier_std) if self.fourier_std else details

    @property
    def each_blocks(self) -> tuple[int, ...]:
        """The number of blocks of each level."""
        return self.num_blocks if isinstance(self.num_blocks, tuple) else (self.num_blocks,) * len(self.channel_mult)

    def build(self, shape: tuple[int, int, int], num_classes: int, out_multiplier: int = 1) -> nn.Module:
        """The network for images of `shape` (channels, height, width), untrained.

        Its output has `out_multiplier` times the channels of its input.
        Raises ValueError if the size is not a multiple of the network's stride, or a field does not fit the others.
        """
        if self.arch not in ARCHS:
            raise ValueError(f"no arch {self.arch!r}: choose from {', '.join(ARCHS)}")
        if min(*self.each_blocks, self.patch_size, *self.channel_mult, len(self.channel_mult)) < 1:
            given = f"num_blocks {self.num_blocks}, patch_size {self.patch_size}, channel_mult {self.channel_mult}"
            raise ValueError(f"{given}: expected integers from 1 up, and at least one multiplier")
        if len(self.each_blocks) != len(self.channel_mult) or max(self.each_blocks) > MAX_BLOCKS:
            levels = len(self.channel_mult)
            raise ValueError(f"num_blocks {self.num_blocks}: expected at most {MAX_BLOCKS}, for {levels} levels")
        if not 0 <= self.fourier_std < math.inf:
            raise ValueError(
                f"fourier_std {self.fourier_std}: expected a positive number, or 0 for the embedding of arch"
            )
        if self.model_channels < 4 or self.model_channels % 2:
            raise ValueError(f"model_channels {self.model_channels}: expected an even number from 4 up")
        if self.head_channels < 0 or (self.head_channels and self.model_channels % self.head_channels):
            raise ValueError(
                f"head_channels {self.head_channels}: expected a divisor of model_channels, {self.model_channels}, or 0"
            )
        strides = [self.patch_size * 2**level for level in range(len(self.channel_mult))]
        check_size(shape, strides, self.attn_resolutions)
        with_attention = [min(shape[1:]) // stride in self.attn_resolutions for stride in strides]
        net = UNetModule(self, shape[0], with_attention, num_classes, out_multiplier)
        init_unet(net, ARCHS[self.arch])
        return net


def check_size(shape: tuple[int, int, int], strides: list[int], attn_resolutions: tuple[int, ...]) -> None:
    """Raise ValueError unless the size is a multiple of the last stride and each of `attn_resolutions` occurs.

    The message names the nearest valid size, the resolutions to choose from, and sizes for which no option changes.
    """
    resolutions = [min(nearest_size(shape[1], shape[2], strides[-1])) // stride for stride in strides]
    if not (missing := set(attn_resolutions) - set(resolutions)):
        return check_divisible(shape, strides[-1])
    sides = sorted({resolution * stride for resolution in attn_resolutions for stride in strides})
    valid = [s for s in sides if not s % strides[-1] and {s // stride for stride in strides} >= set(attn_resolutions)]
    advice = f"choose --network.attn-resolutions from {', '.join(map(str, resolutions))}"
    advice += f", or images whose shorter side is {', '.join(map(str, valid))}" if valid else ""
    try:
        check_divisible(shape, strides[-1])
    except ValueError as error:
        raise ValueError(
            f"{error}, but no feature map of it has resolution {max(missing)}, which attention needs: {advice}"
        ) from None
    raise ValueError(f"no feature map has resolution {max(missing)}, which attention needs: {advice}")


class UNetBlock(nn.Module):
    """A residual block, followed by self-attention if the level has it."""

    def __init__(self, config: UNet, channels_in: int, channels_out: int, with_attention: bool):
        super().__init__()
        heads = channels_out // config.head_channels if config.head_channels else 1
        arch = config.details
        self.residual = ResBlock(channels_in, channels_out, config.dropout, config.scale_shift, arch=arch)
        self.attention = Attention(channels_out, heads, arch) if with_attention else nn.Identity()
        self.modulation_width = self.residual.modulation_width

    def forward(self, x: FeatureMap, emb: Float[Tensor, "b _"]) -> FeatureMap:
        """The next feature map."""
        return self.attention(self.residual(x, emb))


class UNetModule(nn.Module):
    """The network built by `UNet`: net(x, c_noise, labels) -> y."""

    def __init__(self, config: UNet, channels: int, attn_levels: list[bool], classes: int, out_multiplier: int):
        super().__init__()
        widths, arch = [config.model_channels * m for m in config.channel_mult], config.details
        self.patch_size = config.patch_size
        current = widths[0] if arch.enter == "level" else config.model_channels
        self.enter = Conv3x3(channels * config.patch_size**2, current)
        down, up, pyramid, skips = [], [], [channels * config.patch_size**2], [current]
        for level, width in enumerate(widths):
            if level > 0:
                down.append(_downsampler(config, current))
                pyramid.append(current)
                skips.append(current)
            for _ in range(config.each_blocks[level]):
                down.append(UNetBlock(config, current, width, attn_levels[level]))
                current = width
                skips.append(current)
        middle = [
            UNetBlock(config, current, current, with_attention=True),
            UNetBlock(config, current, current, with_attention=False),
        ]
        for level, width in reversed(list(enumerate(widths))):
            for remaining in reversed(range(config.each_blocks[level] + 1)):
                with_attention = attn_levels[level] and (arch.attention_up == "all" or remaining == 0)
                up.append(UNetBlock(config, current + skips.pop(), width, with_attention))
                current = width
            if level > 0:
                up.append(_upsampler(config, current))
        self.down, self.middle, self.up = nn.ModuleList(down), nn.ModuleList(middle), nn.ModuleList(up)
        self.pyramid = nn.ModuleList(SmoothConvDownsample(*pair) for pair in pairwise(pyramid) if arch.pyramid)
        self.norm = GroupNorm(current, arch.norm_eps, arch.norm_num_groups)
        self.leave = Conv3x3(current, out_multiplier * channels * config.patch_size**2)
        emb = [part.modulation_width for part in (*down, *middle, *up)]
        frequencies = config.model_channels * (2 if arch.fourier_std else 1)
        self.embedding = ConditioningEmbedding(frequencies, 4 * config.model_channels, classes, emb, arch)

    def forward(self, x: ImageBatch, c_noise: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None) -> ImageBatch:
        """The output for each image of `x`, conditioned on its noise level and its label."""
        emb = iter(self.embedding(c_noise, labels))
        reduced = F.pixel_unshuffle(x, self.patch_size)
        x = self.enter(reduced)
        skips, pyramid = [x], iter(self.pyramid)
        for part in self.down:
            x = part(x, next(emb))
            if len(self.pyramid) and not isinstance(part, UNetBlock):
                x = reduced = rescale(x + next(pyramid)(reduced), math.sqrt(1 / 2))
            skips.append(x)
        for part in self.middle:
            x = part(x, next(emb))
        for part in self.up:
            if isinstance(part, UNetBlock):
                x = torch.cat((x, skips.pop()), dim=1)
            x = part(x, next(emb))
        return F.pixel_shuffle(self.leave(self.norm.silu(x)), self.patch_size)


def _downsampler(config: UNet, channels: int) -> Downsample | ResBlock:
    if config.resample == "conv":
        return Downsample(channels, config.details)
    downsample2x, _ = RESAMPLINGS[config.details.resampling]
    return ResBlock(channels, channels, config.dropout, config.scale_shift, downsample2x, config.details)


def _upsampler(config: UNet, channels: int) -> Upsample | ResBlock:
    if config.resample == "conv":
        return Upsample(channels)
    _, upsample2x = RESAMPLINGS[config.details.resampling]
    return ResBlock(channels, channels, config.dropout, config.scale_shift, upsample2x, config.details)


@torch.no_grad()
def init_unet(net: UNetModule, arch: Arch) -> None:
    """Initialize the weights as in `arch`: small or zero in the last layer of each branch and of the network.

    The label embedding keeps the normal distribution that is torch's default, as in ADM.
    """
    if arch.init == "xavier":
        _xavier(net, arch.qkv_gain)
    parts = list(net.modules())
    last_layers = [part.conv2 for part in parts if isinstance(part, ResBlock)]
    last_layers += [part.out for part in parts if isinstance(part, Attention)]
    for layer in (*last_layers, net.leave):
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
        if arch.end_gain:
            layer.weight.mul_(arch.end_gain)
        else:
            nn.init.zeros_(layer.weight)


def _xavier(net: UNetModule, qkv_gain: float) -> None:
    """Initialize every matrix by Xavier's uniform distribution, as in DDPM, and every bias with zero."""
    for name, bias in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(bias)
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
    for part in net.modules():
        if isinstance(part, Attention):
            _xavier_each(part.qkv.weight.chunk(3), qkv_gain)
    _xavier_each(net.embedding.to_modulation.weight.split(net.embedding.modulation_widths))


def _xavier_each(matrices: Sequence[Tensor], gain: float = 1.0) -> None:
    """Initialize each of several matrices that are stored as one, with its own fan-out."""
    for matrix in matrices:
        if len(matrix):
            nn.init.xavier_uniform_(matrix, gain)
