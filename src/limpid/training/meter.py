"""Means of the loss over steps, in all and by level of noise, summed on the device."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.storage.jsonl import EDGES, LOGSNR_BINS


class Means(NamedTuple):
    """What a meter has gathered."""

    loss: float
    parts: dict[str, float]
    """The mean loss in each part of the log-SNR that was met."""


class LossMeter:
    """Mean losses since they were last read, gathered on the device so that no step waits for a number."""

    def __init__(self, device: str):
        self.total = torch.zeros(len(LOGSNR_BINS), 3, device=device)
        """For each part of the log-SNR the sum of the losses, of their rarities, and how many: part of a checkpoint."""
        self.edges = torch.tensor(EDGES, device=device)
        self.parts = torch.arange(len(LOGSNR_BINS), device=device)

    def add(self, loss: Float[Tensor, " b"], rarity: Float[Tensor, " b"], logsnr: Float[Tensor, " b"]) -> None:
        """Count the loss of each sample of a batch, which its rarity is a factor of already."""
        inside = torch.bucketize(logsnr.float(), self.edges)[:, None] == self.parts
        values = torch.stack([loss, rarity.float(), torch.ones_like(loss)], 1)
        # Sums of a fixed order, and no product: a loss that is no number spoils its own part alone.
        self.total += torch.where(inside[:, :, None], values[:, None, :], 0.0).sum(0)

    def read(self) -> Means:
        """The means, which start anew; NaN if a loss was."""
        rows = self.total.tolist()
        self.total.zero_()
        parts = {name: loss / rarity for name, (loss, rarity, _) in zip(LOGSNR_BINS, rows, strict=True) if rarity}
        return Means(sum(row[0] for row in rows) / sum(row[2] for row in rows), parts)
