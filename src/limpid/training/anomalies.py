"""Anomalies that a run warns of: losses that are not finite or spike, samples without content."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

NO_POSITION = torch.iinfo(torch.int64).max
SPIKE_RATIO = 3.0
"""A loss of more than this many times the recent median causes a warning."""
MIN_PIXEL_STD = 2.0
"""Smallest standard deviation of pixel values (0 to 255), within and between samples, that is not warned of."""


class NonFiniteStep(NamedTuple):
    """The first step whose loss or gradient was not finite."""

    data_position: int
    """Where its batch begins in the sequence of training images."""
    grad_norm: float
    losses: list[float]
    logsnrs: list[float]

    def __str__(self) -> str:
        bad = [logsnr for loss, logsnr in zip(self.losses, self.logsnrs, strict=True) if not abs(loss) < torch.inf]
        where = f", at log-SNR {min(bad):.1f} to {max(bad):.1f}" if bad else ""
        return f"{len(bad)} of {len(self.losses)} losses not finite{where}, gradient norm {self.grad_norm}"


class NonFiniteMonitor:
    """Records, on the device, the first step whose loss or gradient was not finite."""

    def __init__(self, device: str):
        self.data_position = torch.tensor(NO_POSITION, device=device)
        self.grad_norm = torch.zeros((), device=device)
        self.batch = torch.zeros(2, 1, device=device)

    def check(
        self, data_position: int, loss: Float[Tensor, " b"], logsnr: Float[Tensor, " b"], grad_norm: Float[Tensor, ""]
    ) -> None:
        """Check a step, without waiting for the device."""
        first = ~(loss.sum() + grad_norm).isfinite() & (self.data_position == NO_POSITION)
        self.data_position = torch.where(first, data_position, self.data_position)
        self.grad_norm = torch.where(first, grad_norm, self.grad_norm)
        self.batch = torch.where(first, torch.stack([loss, logsnr.float()]), self.batch)

    def read(self) -> NonFiniteStep | None:
        """The first step that was not finite, if there was one: waits for the device."""
        data_position = int(self.data_position)
        if data_position == NO_POSITION:
            return None
        return NonFiniteStep(data_position, self.grad_norm.item(), *self.batch.tolist())


def loss_spike(loss: float, before: Sequence[float]) -> str:
    """A warning if the loss is several times the median of those before; empty if not, or for the first few."""
    recent_median = median(before) if len(before) >= 5 else torch.inf
    if loss <= SPIKE_RATIO * recent_median:
        return ""
    return f"loss {loss:.4g} is {loss / recent_median:.1f} times the recent median, {recent_median:.4g}"


def degenerate_samples(pixels: UInt8[Tensor, "n c h w"]) -> str:
    """A warning if samples have no content: each of one colour, or all the same; empty if not."""
    x = pixels.float()
    if x.flatten(1).std(1).mean() < MIN_PIXEL_STD:
        return f"the samples are flat: each is of one colour, {x.mean():.0f} of 255 on average"
    if len(x) > 1 and x.std(0).mean() < MIN_PIXEL_STD:
        return "the samples are all the same"
    return ""
