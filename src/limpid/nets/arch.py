"""The small choices by which the published U-Nets differ: an `Arch` for the code of each paper."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Arch:
    """What the code of a paper fixes and its options do not say; as it stands, DDPM's."""

    norm_eps: float = 1e-6
    """What is added to the variance in every group norm."""
    downsample_padding: int = 0
    """Rows above and columns on the left that are added before a convolution of stride 2; below and on the right, 1."""
    endpoint: bool = True
    """The lowest frequency of the sinusoid is 1 / 10000; else the one after the lowest would be."""
    skip_scale: float = 1.0
    """What the sum of a branch and its skip is multiplied by: sqrt(1/2) keeps its variance."""
    skip_projection: bool = False
    """A block that resamples has a convolution of 1x1 on its skip, as one that changes the channels always has."""
    attention_up: Literal["all", "last"] = "all"
    """The blocks of a level that attend on the way up."""
    enter: Literal["level", "width"] = "level"
    """What the first convolution makes: the channels of the first level, or the network's width."""
    one_hot: bool = False
    """A matrix of the one-hot label is added to the sinusoid, before the MLP; else a row of a table, after the MLP."""
    init: Literal["xavier", "torch"] = "xavier"
    """The weights at the start: of variance 2 / (fan in + fan out), with biases of 0; or as torch draws both."""
    end_gain: float = 0.0
    """At the start, the size of the weights with which a branch and the network end, as a share of the others'."""
    qkv_gain: float = 1.0
    """At the start, the size of the weights that make queries, keys and values, as a share of the others'."""


DDPM = Arch()
ArchName: TypeAlias = Literal["ddpm", "iddpm", "ddpmpp"]
ARCHS: dict[ArchName, Arch] = {
    "ddpm": DDPM,
    "iddpm": Arch(norm_eps=1e-5, downsample_padding=1, endpoint=False, init="torch"),
    "ddpmpp": Arch(
        skip_scale=math.sqrt(1 / 2),
        skip_projection=True,
        attention_up="last",
        enter="width",
        one_hot=True,
        end_gain=1e-5,
        qkv_gain=math.sqrt(1 / 10),  # sqrt(1/5) of what the three matrices would have, were they drawn as one
    ),
}
"""DDPM (Ho et al. 2020), improved DDPM (Nichol and Dhariwal 2021), and DDPM++ (Song et al. 2021) as it is in EDM's code
(Karras et al. 2022)."""
