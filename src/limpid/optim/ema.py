"""Moving averages of the weights over training (EMA): their samples are better than those of the current weights.

A power-function EMA at time t weights the weights of time s by s^gamma (Karras et al. 2024, section 3). From two of
them, saved at intervals, one of almost any length can be computed after the run: see `solve_posthoc_coefficients`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Ema:
    """An exponential moving average with a half-life of `halflife` images.

    The half-life is at most `rampup_ratio` times the images seen, so the random initial weights are soon forgotten;
    a ratio of 0 turns that off (Karras et al. 2022, appendix F.2).
    """

    halflife: float = 500_000.0
    rampup_ratio: float = 0.05

    def __post_init__(self) -> None:
        if not (self.halflife > 0 and self.rampup_ratio >= 0):
            raise ValueError(
                f"EMA halflife {self.halflife}, rampup_ratio {self.rampup_ratio}: expected above 0, and 0 or more"
            )

    def decay(self, images_seen: int, batch_size: int) -> float:
        """The weight of the previous EMA in the update after a batch, with which `images_seen` is reached."""
        halflife = min(self.halflife, images_seen * self.rampup_ratio) if self.rampup_ratio else self.halflife
        return 0.5 ** (batch_size / halflife)


@dataclass(frozen=True)
class PowerFunctionEma:
    """A power-function EMA: its length is a fixed fraction of the run so far (Karras et al. 2024, eq. 123-127)."""

    std: float = 0.05
    """EDM2's relative EMA length: the standard deviation of its weights over time, as a fraction of the run."""

    def __post_init__(self) -> None:
        std_to_exp(self.std)

    def decay(self, images_seen: int, batch_size: int) -> float:
        """The weight of the previous EMA in the update after a batch, with which `images_seen` is reached; 0 after the
        first batch."""
        return (1 - min(batch_size / images_seen, 1.0)) ** (std_to_exp(self.std) + 1)


EmaKind: TypeAlias = Ema | PowerFunctionEma


@torch.no_grad()
def update_ema(ema: Iterable[Tensor], weights: Iterable[Tensor], decay: float) -> None:
    """ema <- decay * ema + (1 - decay) * weights, in place."""
    torch._foreach_lerp_(list(ema), list(weights), 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


def std_to_exp(std: float) -> float:
    """gamma of the power-function EMA of relative length `std` (eq. 126-127).

    Raises ValueError unless `std` is above 0 and below 12^(-1/2), which gamma = 0 has.
    """
    if not 0 < std < 12**-0.5:
        raise ValueError(f"power-function EMA of relative length {std}: expected between 0 and 0.288")
    return float(np.roots([1, 7, 16 - std**-2, 12 - std**-2]).real.max())


def folder_name(std: float) -> str:
    """The name of the folder for EMAs of this relative length, such as 0.050."""
    return f"{std:.3f}"


def solve_posthoc_coefficients(saved: Sequence[tuple[float, float]], target: tuple[float, float]) -> np.ndarray:
    """The coefficients of the saved EMAs in their best approximation of `target`, by least squares (algorithm 3).

    Each EMA is a pair (images seen, relative length). The solution is divided by its sum, so that the coefficients sum
    to 1 and constant weights stay as they are, also where the profile of the target is not matched exactly.
    """
    profiles = [(images_seen, std_to_exp(std)) for images_seen, std in saved]
    target_profile = (target[0], std_to_exp(target[1]))
    gram = np.array([[_overlap(a, b) for b in profiles] for a in profiles])
    solution = np.linalg.solve(gram, np.array([_overlap(a, target_profile) for a in profiles]))
    return solution / solution.sum()


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    """The integral of the product of two profiles (gamma + 1) s^gamma / t^(gamma + 1) over s."""
    (earlier, gamma_earlier), (later, gamma_later) = sorted([a, b])
    factor = (gamma_earlier + 1) * (gamma_later + 1) / (gamma_earlier + gamma_later + 1)
    return factor * (earlier / later) ** gamma_later / later


def linear_combination(tensors: Sequence[dict[str, Tensor]], coefficients: np.ndarray) -> dict[str, Tensor]:
    """The sum of several sets of weights, each times its coefficient: computed in float64, returned in their dtypes."""
    total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in tensors[0].items()}
    for weights, coefficient in zip(tensors, coefficients, strict=True):
        for name, value in weights.items():
            total[name] += coefficient * value.double()
    return {name: value.to(tensors[0][name].dtype) for name, value in total.items()}
