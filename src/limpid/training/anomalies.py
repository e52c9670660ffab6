"""What goes wrong in a run and is told: losses that are no numbers or leap, pictures without content."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

NEVER = torch.iinfo(torch.int64).max
LEAP = 3.0
"""How many times its median of late a loss is that is worth a word."""
FLAT = 2.0
"""The least standard deviation of pixels, of 255, that pictures have within and between them."""


class NonFiniteStep(NamedTuple):
    """The first step whose loss or gradient was no number."""

    place: int
    """Where in the run's row of pictures its batch begins."""
    gradient: float
    losses: list[float]
    logsnrs: list[float]

    def __str__(self) -> str:
        bad = [logsnr for loss, logsnr in zip(self.losses, self.logsnrs, strict=True) if not abs(loss) < torch.inf]
        where = f", at log-SNR {min(bad):.1f} to {max(bad):.1f}" if bad else ""
        return f"{len(bad)} of {len(self.losses)} losses no number{where}, gradient {self.gradient}"


class NonFiniteMonitor:
    """Keeps, on the device, what the first step was like whose loss or gradient was no number."""

    def __init__(self, device: str):
        self.place = torch.tensor(NEVER, device=device)
        self.gradient = torch.zeros((), device=device)
        self.batch = torch.zeros(2, 1, device=device)

    def see(
        self, place: int, loss: Float[Tensor, " b"], logsnr: Float[Tensor, " b"], gradient: Float[Tensor, ""]
    ) -> None:
        """Look at a step."""
        first = ~(loss.sum() + gradient).isfinite() & (self.place == NEVER)
        self.place = torch.where(first, place, self.place)
        self.gradient = torch.where(first, gradient, self.gradient)
        self.batch = torch.where(first, torch.stack([loss, logsnr.float()]), self.batch)

    def read(self) -> NonFiniteStep | None:
        """The first step that went wrong, if any did: waits for the device."""
        place = int(self.place)
        if place == NEVER:
            return None
        return NonFiniteStep(place, self.gradient.item(), *self.batch.tolist())


def loss_spike(loss: float, before: Sequence[float]) -> str:
    """What to say of a loss that is several times the median of those before; nothing of others and of the first."""
    usual = median(before) if len(before) >= 5 else torch.inf
    if loss <= LEAP * usual:
        return ""
    return f"loss {loss:.4g} is {loss / usual:.1f} times its median of late, {usual:.4g}"


def degenerate_samples(pixels: UInt8[Tensor, "n c h w"]) -> str:
    """What to say of drawn pictures without content, each of one colour or all alike; nothing of others."""
    x = pixels.float()
    if x.flatten(1).std(1).mean() < FLAT:
        return f"the pictures drawn are flat: each is of one colour, {x.mean():.0f} of 255 on average"
    if len(x) > 1 and x.std(0).mean() < FLAT:
        return "the pictures drawn are all the same"
    return ""
