"""Averages of the weights along training (EMA), whose samples are better than those of the last weights.

A power-function average at time t weights those of time s by s^gamma (Karras et al. 2024, section 3). Two of them,
saved at intervals, are enough to compute one of almost any length after the run: see `solve_posthoc_coefficients`.
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

    The half-life is at most `rampup_ratio` times the images seen, so the random weights of the start are soon forgotten
    (Karras et al. 2022, appendix F.2); 0 turns that off.
    """

    halflife: float = 500_000.0
    rampup_ratio: float = 0.05

    def __post_init__(self) -> None:
        if not (self.halflife > 0 and self.rampup_ratio >= 0):
            raise ValueError(
                f"EMA halflife {self.halflife}, rampup_ratio {self.rampup_ratio}: expected above 0, and 0 or more"
            )

    def decay(self, seen: int, batch: int) -> float:
        """The weight of the previous average in the update that ends at image `seen`."""
        half_life = min(self.halflife, seen * self.rampup_ratio) if self.rampup_ratio else self.halflife
        return 0.5 ** (batch / half_life)


@dataclass(frozen=True)
class PowerFunctionEma:
    """A power-function average: its memory is a fixed share of the run so far (Karras et al. 2024, eq. 123-127)."""

    std: float = 0.05
    """The standard deviation of its memory, as a share of the run: EDM2's relative EMA length."""

    def __post_init__(self) -> None:
        std_to_exp(self.std)

    def decay(self, seen: int, batch: int) -> float:
        """The weight of the previous average in the update that ends at image `seen`; 0 at the first."""
        return (1 - min(batch / seen, 1.0)) ** (std_to_exp(self.std) + 1)


EmaKind: TypeAlias = Ema | PowerFunctionEma


@torch.no_grad()
def update(average: Iterable[Tensor], weights: Iterable[Tensor], decay: float) -> None:
    """average <- decay * average + (1 - decay) * weights, in place."""
    torch._foreach_lerp_(list(average), list(weights), 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


def std_to_exp(std: float) -> float:
    """gamma of the power-function average of relative length `std`, which is below 0.289 (eq. 126-127)."""
    if not 0 < std < 12**-0.5:
        raise ValueError(f"a power-function average of length {std}: expected between 0 and 0.288")
    return float(np.roots([1, 7, 16 - std**-2, 12 - std**-2]).real.max())


def folder_name(std: float) -> str:
    """What the folder of averages of this relative length is called."""
    return f"{std:.3f}"


def solve_posthoc_coefficients(saved: Sequence[tuple[float, float]], target: tuple[float, float]) -> np.ndarray:
    """The coefficients by which saved EMAs (seen, std) sum to `target`: least squares over profiles (algorithm 3).

    Divided by their sum, so that weights that never moved come out as they are: the fit alone leaves a sum of 1 only
    where the target profile is met exactly.
    """
    profiles = [(seen, std_to_exp(std)) for seen, std in saved]
    target_profile = (target[0], std_to_exp(target[1]))
    gram = np.array([[_overlap(a, b) for b in profiles] for a in profiles])
    shares = np.linalg.solve(gram, np.array([_overlap(a, target_profile) for a in profiles]))
    return shares / shares.sum()


def _overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    """The integral of the product of two profiles (gamma + 1) s^gamma / t^(gamma + 1) over s."""
    (earlier, gamma_earlier), (later, gamma_later) = sorted([a, b])
    both = (gamma_earlier + 1) * (gamma_later + 1) / (gamma_earlier + gamma_later + 1)
    return both * (earlier / later) ** gamma_later / later


def linear_combination(tensors: Sequence[dict[str, Tensor]], shares: np.ndarray) -> dict[str, Tensor]:
    """The sum of several sets of weights by their shares, in float64 on the way."""
    total = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in tensors[0].items()}
    for weights, share in zip(tensors, shares, strict=True):
        for name, value in weights.items():
            total[name] += share * value.double()
    return {name: value.to(tensors[0][name].dtype) for name, value in total.items()}
