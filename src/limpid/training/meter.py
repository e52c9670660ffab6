"""Mean losses over steps, in total and by log-SNR, summed on the device."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.storage.jsonl import EDGES, LOGSNR_BINS


class Means(NamedTuple):
    """The mean losses since they were last read."""

    loss: float
    parts: dict[str, float]
    """The mean loss in each bin of the log-SNR that was sampled."""


class LossMeter:
    """Mean losses since they were last read, accumulated on the device so that no step waits for it."""

    def __init__(self, device: str):
        self.total = torch.zeros(len(LOGSNR_BINS), 3, device=device)
        """For each bin of the log-SNR the sums of losses and importance weights, and a count: part of a checkpoint."""
        self.edges = torch.tensor(EDGES, device=device)
        self.parts = torch.arange(len(LOGSNR_BINS), device=device)

    def add(
        self, loss: Float[Tensor, " b"], importance_weight: Float[Tensor, " b"], logsnr: Float[Tensor, " b"]
    ) -> None:
        """Add the loss of each image of a batch, already multiplied by its importance weight."""
        in_bin = torch.bucketize(logsnr.float(), self.edges)[:, None] == self.parts
        values = torch.stack([loss, importance_weight.float(), torch.ones_like(loss)], 1)
        # Sums in a fixed order, and no product with a mask: a loss that is not finite affects its own bin alone.
        self.total += torch.where(in_bin[:, :, None], values[:, None, :], 0.0).sum(0)

    def read(self) -> Means:
        """The means, NaN if a loss was NaN; the sums are reset."""
        rows = self.total.tolist()
        self.total.zero_()
        parts = {name: loss / weight for name, (loss, weight, _) in zip(LOGSNR_BINS, rows, strict=True) if weight}
        return Means(sum(row[0] for row in rows) / sum(row[2] for row in rows), parts)
