"""Building blocks of networks: the embedding of noise level and label, residual blocks, attention."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from limpid.nets.arch import DDPM, Arch
from limpid.nets.conv import Conv3x3
from limpid.nets.kernels.attention_cpu import attend
from limpid.nets.kernels.dropout_cpu import Dropout
from limpid.nets.norm import GroupNorm
from limpid.nets.resampling import upsample2x
from limpid.nets.types import FeatureMap, ImageBatch


def check_divisible(shape: tuple[int, int, int], stride: int) -> None:
    """Raise ValueError, with the nearest valid size, unless height and width are multiples of `stride`."""
    height, width = shape[1:]
    if height % stride or width % stride or min(shape) < 1:
        near = "x".join(map(str, nearest_size(height, width, stride)))
        raise ValueError(f"images of {height}x{width}: expected multiples of {stride}; the nearest size is {near}")


def nearest_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """The nearest height and width that are multiples of `stride`, each at least `stride`."""
    rows, columns = (max(stride, stride * math.floor(side / stride + 0.5)) for side in (height, width))
    return rows, columns


def sinusoid(t: Float[Tensor, " b"], width: int, endpoint: bool = True) -> Float[Tensor, "b width"]:
    """Sines, then cosines, of t at width / 2 frequencies that fall geometrically from 1 to 1/10000 (Ho et al. 2020).

    Without `endpoint` the frequency 1/10000 is excluded (Vaswani et al. 2017).
    """
    half = width // 2
    last = half - 1 if endpoint else half
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / last)
    angles = t.float()[:, None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def fourier_features(t: Float[Tensor, " b"], frequencies: Float[Tensor, " n"]) -> Float[Tensor, "b _"]:
    """Sines, then cosines, of 2 pi t at each of the frequencies (Tancik et al. 2020)."""
    angles = t.float()[:, None] * (2 * math.pi * frequencies)
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class ConditioningEmbedding(nn.Module):
    """The embedding of noise level and label, and from it the modulation of every block of a network.

    The noise level is embedded by a sinusoid of `frequencies` channels (in NCSN++ by random frequencies, which are not
    trained) and an MLP, the label by a table whose last row, number `classes`, is "no label" (in DDPM++ and NCSN++ by a
    `OneHot`). `modulation_widths` are the channels that each block gets. One matrix computes all of them: a matrix in
    each block would cost 5% of a training step of a small network on a CPU.
    """

    def __init__(self, frequencies: int, width: int, classes: int, modulation_widths: Sequence[int], arch: Arch = DDPM):
        super().__init__()
        self.frequencies, self.modulation_widths, self.arch = frequencies, list(modulation_widths), arch
        self.fourier: Tensor | None
        self.register_buffer("fourier", arch.fourier_std * torch.randn(frequencies // 2) if arch.fourier_std else None)
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))
        self.labels = None
        if classes:
            self.labels = OneHot(classes, frequencies) if arch.one_hot else label_table(classes + 1, width)
        self.to_modulation = nn.Linear(width, sum(modulation_widths))

    def forward(
        self, c_noise: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None
    ) -> tuple[Float[Tensor, "b _"], ...]:
        """The modulation of each block; labels of None are "no label". Raises ValueError for others without classes."""
        if self.labels is None and labels is not None:
            raise ValueError("labels were given to a network without classes: expected None")
        if self.fourier is None:
            embedding = sinusoid(c_noise, self.frequencies, self.arch.endpoint)
        else:
            embedding = fourier_features(c_noise, self.fourier)
        if isinstance(self.labels, OneHot):
            embedding = embedding + self.labels(labels)
        embedding = self.mlp(embedding)
        if isinstance(self.labels, nn.Embedding):
            embedding = embedding + (self.labels.weight[-1] if labels is None else self.labels(labels))
        return self.to_modulation(F.silu(embedding)).split(self.modulation_widths, dim=1)


class OneHot(nn.Linear):
    """A linear map of the one-hot label, times sqrt(classes) for a variance of one (Karras et al. 2022, their code).

    "No label" (None, or the number `classes`) is a vector of zeros: only the bias remains.
    """

    def forward(self, input: Int[Tensor, " b"] | None) -> Float[Tensor, "*b d"]:
        """The embedding of each label."""
        if input is None:
            assert self.bias is not None
            return self.bias
        rows = input[:, None] == torch.arange(self.in_features, device=input.device)
        return super().forward(rows.to(self.weight.dtype) * math.sqrt(self.in_features))


def label_table(rows: int, width: int) -> nn.Embedding:
    """A table with normal initialization; none on the meta device, where torch would import its compiler for it."""
    weight = torch.empty(rows, width)
    if not weight.is_meta:
        nn.init.normal_(weight)
    return nn.Embedding.from_pretrained(weight, freeze=False)


def identity(x: ImageBatch) -> ImageBatch:
    """`x` unchanged, for blocks that do not resample."""
    return x


class ResBlock(nn.Module):
    """x + conv(dropout(silu(norm(conv(silu(norm(x))))))), modulated by the embedding at its second norm.

    In Ho et al. (2020) the embedding is added before the second norm; with `scale_shift` it scales and shifts the
    norm's output (Dhariwal and Nichol 2021). `resample` acts on both branches (BigGAN; Song et al. 2021).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        dropout: float,
        scale_shift: bool = False,
        resample: Callable[[FeatureMap], FeatureMap] = identity,
        arch: Arch = DDPM,
    ):
        super().__init__()
        self.modulation_width = channels_out * (2 if scale_shift else 1)
        self.scale_shift, self.resample, self.skip_scale = scale_shift, resample, arch.skip_scale
        self.norm1 = GroupNorm(channels_in, arch.norm_eps, arch.norm_num_groups)
        self.conv1 = Conv3x3(channels_in, channels_out)
        self.norm2 = GroupNorm(channels_out, arch.norm_eps, arch.norm_num_groups)
        self.dropout = Dropout(dropout)
        self.conv2 = Conv3x3(channels_out, channels_out)
        projects = channels_in != channels_out or (arch.skip_projection and resample is not identity)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if projects else nn.Identity()

    def forward(self, x: FeatureMap, emb: Float[Tensor, "b _"]) -> FeatureMap:
        """The next feature map; `emb` holds a shift, or a scale and a shift, for each channel."""
        y = self.conv1(self.resample(self.norm1.silu(x)))
        if self.scale_shift:
            scale, shift = emb.chunk(2, dim=1)
            y = self.norm2.silu(y, scale=scale, shift=shift)
        else:
            y = self.norm2.silu(y, shift_in=emb)
        return rescale(self.shortcut(self.resample(x)) + self.conv2(self.dropout(y)), self.skip_scale)


def rescale(x: FeatureMap, factor: float) -> FeatureMap:
    """`x` times `factor`; no operation if that is 1."""
    return x if factor == 1 else x * factor


class Attention(nn.Module):
    """x + self-attention among the positions of a feature map, with `heads` heads."""

    def __init__(self, channels: int, heads: int, arch: Arch = DDPM):
        super().__init__()
        self.heads, self.skip_scale = heads, arch.skip_scale
        self.norm = GroupNorm(channels, arch.norm_eps, arch.norm_num_groups)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: ImageBatch) -> ImageBatch:
        """The next feature map."""
        pixels = self.qkv(self.norm(x)).flatten(2).mT
        q, k, v = pixels.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = attend(q, k, v).transpose(1, 2).flatten(2)
        return rescale(x + self.out(y.mT.unflatten(2, x.shape[2:])), self.skip_scale)


class Downsample(nn.Module):
    """A convolution of stride 2, padded at the bottom and right as in Ho et al. (2020), or on all sides."""

    modulation_width = 0

    def __init__(self, channels: int, arch: Arch = DDPM):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)
        self.padding = (arch.downsample_padding, 1) * 2

    def forward(self, x: FeatureMap, emb: Float[Tensor, "b 0"]) -> FeatureMap:
        """The map at half its height and width."""
        return self.conv(F.pad(x, self.padding))


class Upsample(nn.Module):
    """Nearest-neighbour upsampling by 2, then a convolution."""

    modulation_width = 0

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv3x3(channels, channels)

    def forward(self, x: FeatureMap, emb: Float[Tensor, "b 0"]) -> FeatureMap:
        """The map at twice its height and width."""
        return self.conv(upsample2x(x))
