"""Anomalies that a run warns of: losses that are not finite or jump up, samples without content."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

NO_POSITION = torch.iinfo(torch.int64).max
LEAP = 3.0
"""A loss of this many times the median of the recent ones is warned of."""
FLAT = 2.0
"""The least standard deviation of pixels (0 to 255) within and between samples that have content."""


class NonFiniteStep(NamedTuple):
    """The first step whose loss or gradient was not finite."""

    place: int
    """Where its batch begins in the sequence of training images."""
    gradient: float
    losses: list[float]
    logsnrs: list[float]

    def __str__(self) -> str:
        bad = [logsnr for loss, logsnr in zip(self.losses, self.logsnrs, strict=True) if not abs(loss) < torch.inf]
        where = f", at log-SNR {min(bad):.1f} to {max(bad):.1f}" if bad else ""
        return f"{len(bad)} of {len(self.losses)} losses no number{where}, gradient {self.gradient}"


class NonFiniteMonitor:
    """Keeps, on the device, the first step whose loss or gradient was not finite."""

    def __init__(self, device: str):
        self.place = torch.tensor(NO_POSITION, device=device)
        self.gradient = torch.zeros((), device=device)
        self.batch = torch.zeros(2, 1, device=device)

    def see(
        self, place: int, loss: Float[Tensor, " b"], logsnr: Float[Tensor, " b"], gradient: Float[Tensor, ""]
    ) -> None:
        """Check a step, without waiting for the device."""
        first = ~(loss.sum() + gradient).isfinite() & (self.place == NO_POSITION)
        self.place = torch.where(first, place, self.place)
        self.gradient = torch.where(first, gradient, self.gradient)
        self.batch = torch.where(first, torch.stack([loss, logsnr.float()]), self.batch)

    def read(self) -> NonFiniteStep | None:
        """The first step that was not finite, if there was one: waits for the device."""
        place = int(self.place)
        if place == NO_POSITION:
            return None
        return NonFiniteStep(place, self.gradient.item(), *self.batch.tolist())


def loss_spike(loss: float, before: Sequence[float]) -> str:
    """A warning if the loss is several times the median of those before; empty if not, or for the first few."""
    usual = median(before) if len(before) >= 5 else torch.inf
    if loss <= LEAP * usual:
        return ""
    return f"loss {loss:.4g} is {loss / usual:.1f} times its median of late, {usual:.4g}"


def degenerate_samples(pixels: UInt8[Tensor, "n c h w"]) -> str:
    """A warning if samples have no content: each of one colour, or all the same; empty if not."""
    x = pixels.float()
    if x.flatten(1).std(1).mean() < FLAT:
        return f"the samples are flat: each is of one colour, {x.mean():.0f} of 255 on average"
    if len(x) > 1 and x.std(0).mean() < FLAT:
        return "the samples are all the same"
    return ""
