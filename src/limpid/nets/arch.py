"""The details in which the published U-Nets differ, as an `Arch` for each paper's code."""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Arch:
    """Details that a paper's code fixes without an option; the defaults are DDPM's."""

    norm_eps: float = 1e-6
    """Epsilon of every group norm."""
    norm_num_groups: int = 0
    """Groups of every group norm; 0 chooses them by `nets.norm.groups`."""
    downsample_padding: int = 0
    """Padding at the top and left of a convolution of stride 2; at the bottom and right it is 1."""
    endpoint: bool = True
    """Whether the lowest frequency of the sinusoid is 1 / 10000; if not, the sequence stops one step before it."""
    skip_scale: float = 1.0
    """Factor on the sum of a residual branch and its skip: sqrt(1/2) preserves the variance."""
    skip_projection: bool = False
    """Whether a block that resamples has a 1x1 convolution on its skip; blocks that change the channels always do."""
    attention_up: Literal["all", "last"] = "all"
    """Which blocks of a level have attention in the decoder: all, or the last one."""
    enter: Literal["level", "width"] = "level"
    """Output channels of the first convolution: of the first level, or `model_channels`."""
    fourier_std: float = 0.0
    """Standard deviation of the random frequencies that embed the noise level, twice as many as a sinusoid has; 0 is a
    sinusoid."""
    resampling: Literal["average", "smooth"] = "average"
    """Filter of a residual block that resamples: 2x2 averages, or [1, 3, 3, 1] in both directions."""
    pyramid: bool = False
    """Whether the image, downsampled by one convolution for each level, is added to the encoder's feature maps."""
    one_hot: bool = False
    """Whether a linear map of the one-hot label is added before the MLP; if not, an embedding is added after it."""
    init: Literal["xavier", "torch"] = "xavier"
    """Initialization: Xavier uniform, of variance 2 / (fan in + fan out), with zero biases; or torch's defaults."""
    end_gain: float = 0.0
    """Gain of the initial weights in the last layer of each residual branch and of the network."""
    qkv_gain: float = 1.0
    """Gain of the initial weights of queries, keys and values."""


DDPM = Arch()
DDPMPP = Arch(
    skip_scale=math.sqrt(1 / 2),
    skip_projection=True,
    attention_up="last",
    enter="width",
    one_hot=True,
    end_gain=1e-5,
    qkv_gain=math.sqrt(1 / 10),  # sqrt(1/5) of the size that the three would have if initialized as one matrix
)
ArchName: TypeAlias = Literal["ddpm", "iddpm", "ddpmpp", "ncsnpp", "score_sde"]
ARCHS: dict[ArchName, Arch] = {
    "ddpm": DDPM,
    "iddpm": Arch(norm_eps=1e-5, downsample_padding=1, endpoint=False, init="torch"),
    "ddpmpp": DDPMPP,
    "ncsnpp": replace(DDPMPP, fourier_std=16.0, resampling="smooth", pyramid=True),
    "score_sde": Arch(attention_up="last"),
}
"""DDPM (Ho et al. 2020), improved DDPM (Nichol and Dhariwal 2021), and DDPM++ and NCSN++ (Song et al. 2021) as in EDM's
code (Karras et al. 2022), and DDPM in the code of score-based SDEs (Song et al. 2021)."""
