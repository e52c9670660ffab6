"""Pixels of a Gaussian law, whose entropy and denoiser are known in closed form."""

import math

import torch
from torch import Tensor

from limpid.diffusion.level import Level
from limpid.diffusion.likelihood import (
    BIN_WIDTH,
    DEQUANTIZATION_STD,
)
from limpid.diffusion.oracle import Gaussian

F64 = torch.float64
MEAN, STD = 0.1, 0.2
PIXELS = torch.arange(256, dtype=F64)[:, None] / 127.5 - 1


def at(ratio: float) -> Level:
    return Level(torch.ones((), dtype=F64), torch.tensor(ratio, dtype=F64))


def chances(mean: float, std: float) -> Tensor:
    """What N(mean, std^2) gives to the bin of each pixel."""
    edges = torch.cat([torch.tensor([-math.inf], dtype=F64), PIXELS[1:, 0] - BIN_WIDTH / 2, torch.tensor([math.inf])])
    return torch.special.ndtr((edges - mean) / std).diff()


CHANCES = chances(MEAN, STD)
ENTROPY = -(CHANCES * CHANCES.log()).nan_to_num().sum().item()


SMOOTH = Gaussian(torch.tensor([MEAN], dtype=F64), torch.tensor([math.hypot(STD, DEQUANTIZATION_STD)], dtype=F64))
NOISY, CLEAN = at(80.0), at(BIN_WIDTH)
# So noisy that the prior is the law's own to 1e-4.
PURE = at(1e4)


def images(n: int, axes: int = 1) -> Tensor:
    """Pixels of the law, at equal quantiles, so that a mean over them is nearly the expectation."""
    u = (torch.arange(n, dtype=F64) + 0.5) / n
    return PIXELS[torch.searchsorted(CHANCES.cumsum(0), u).clamp(max=255), 0][:, None].expand(n, axes).contiguous()


def assert_within(draws: Tensor, expected: Tensor | float, slack: float = 0.0) -> None:
    """The mean of the draws is the expectation, up to four standard errors and what is explained where it is used."""
    error = (draws - expected).std() / math.sqrt(len(draws))
    assert abs((draws - expected).mean()) < 4 * error + slack
