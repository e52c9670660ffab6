"""The average of the weights along training, which draws better than the last of them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ema:
    """An exponential average whose memory halves every `half_life` images.

    It remembers at most `ramp` of what has been seen, so the random weights of the start are soon forgotten
    (Karras et al. 2022, appendix F.2); 0 turns that off.
    """

    half_life: float
    ramp: float = 0.05

    def decay(self, seen: int, batch: int) -> float:
        """The share kept of the average at the step that ends at image `seen`."""
        half_life = min(self.half_life, seen * self.ramp) if self.ramp else self.half_life
        return 0.5 ** (batch / half_life)


@torch.no_grad()
def update(average: Iterable[Tensor], weights: Iterable[Tensor], decay: float) -> None:
    """average <- decay * average + (1 - decay) * weights, in place."""
    torch._foreach_lerp_(list(average), list(weights), 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
