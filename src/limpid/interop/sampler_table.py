"""A sampler as a table of numbers, with which any language samples from an exported network.

All fixed-step samplers are linear: x of the next evaluation is a weighted sum of x, earlier predictions of x0 and fresh
noise. The weights are read off by running the sampler on unit vectors: each noise and each prediction is a new one, and
the components of x are its coefficients.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from limpid.diffusion.denoiser import DenoiserWithVariance
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers import Dopri5, Sampler
from limpid.diffusion.samplers.steps import final_step

NEGLIGIBLE = 1e-12
"""Weights below this share of the largest are the rounding of float64, and are left out."""
AGREEMENT = 1e-6
"""Relative difference from which a table and its sampler disagree; float64 leaves about 1e-12."""

_Coefficients = Float[Tensor, " n"]


@dataclass(frozen=True)
class TableRow:
    """How x becomes the x of the next network evaluation, or, in the last row, the sample.

    x' = keep x + sum_i predictions[i] x0_i + sum_j noises[j] eps_j, with x0_0 the newest prediction. Each eps_j is new
    standard normal noise.
    """

    keep: float
    predictions: tuple[float, ...]
    """Weights of the predictions so far, the newest first; those not listed are 0."""
    noises: tuple[float, ...]
    """Weights of fresh noises, in the order in which they are sampled."""
    level: Level
    """The level of x'."""
    variance_ratio: float = 1.0
    """The noise is multiplied by this to the power of the learned variance fraction, value by value."""


def sampler_table(sampler: Sampler, levels: Level) -> tuple[TableRow, ...]:
    """The rows of `sampler` on these levels: one for each network evaluation, and the last for the sample.

    Raises ValueError for a sampler that is not linear, or that uses an earlier noise again.
    """
    if isinstance(sampler, Dopri5):
        raise ValueError(
            "Dopri5 chooses its steps by the images, so it is no table of numbers: choose another sampler, like "
            "Heun or DpmSolverPP"
        )
    rows = _rows(sampler, levels, variance_fraction=0.0)
    if getattr(sampler, "variance", "") == "learned":
        rows = list(map(_with_ratio, rows, _rows(sampler, levels, variance_fraction=1.0)))
    _check_agreement(sampler, levels, rows)
    return tuple(rows)


def apply_table(
    rows: Sequence[TableRow], denoise: Callable[[Batch, Level], Batch], noise: Callable[[], Batch]
) -> Iterator[Batch]:
    """x of each network evaluation, and at last the sample, by a table without a learned variance."""
    x, predictions = torch.zeros(()), list[Batch]()
    for row in rows:
        x = row.keep * x + sum(weight * x0 for weight, x0 in zip(row.predictions, reversed(predictions), strict=False))
        for weight in row.noises:
            x = x + weight * noise()
        yield x
        if row is not rows[-1]:
            predictions.append(denoise(x, row.level))


def _rows(sampler: Sampler, levels: Level, variance_fraction: float) -> list[TableRow]:
    """The rows of a sampler, for one fraction of the large variance in all values."""
    kinds = _trace(sampler, levels, 1, variance_fraction, lambda x, level, vectors: None)
    is_noise = torch.tensor([kind == "noise" for kind in kinds])
    rows, before, vectors_before = list[TableRow](), torch.zeros(len(kinds), dtype=torch.float64), 0

    def add_row(x: _Coefficients, level: Level, vectors: int) -> None:
        nonlocal before, vectors_before
        rows.append(_row(before, x, level, is_noise[:vectors], vectors_before))
        before, vectors_before = x, vectors

    _trace(sampler, levels, len(kinds), variance_fraction, add_row)
    return rows


def _trace(
    sampler: Sampler,
    levels: Level,
    size: int,
    variance_fraction: float,
    on_call: Callable[[_Coefficients, Level, int], None],
) -> list[str]:
    """Run the sampler on unit vectors of this size, and return the kind of each: "noise" or "prediction".

    `on_call` is given x at each network evaluation and at the end, its level, and the number of vectors so far.
    """
    kinds = list[str]()

    def unit_vector(kind: str) -> Float[Tensor, "1 n"]:
        vector = torch.zeros(1, size, dtype=torch.float64)
        vector[0, len(kinds) % size] = 1
        kinds.append(kind)
        return vector

    def denoise(x: Batch, level: Level) -> tuple[Batch, Batch]:
        on_call(x[0], level, len(kinds))
        return unit_vector("prediction"), torch.full_like(x, variance_fraction)

    x = levels[0].sigma * unit_vector("noise")
    last = final_step(sampler(DenoiserWithVariance(denoise), x, levels, lambda: unit_vector("noise")))
    on_call(last.x[0], last.level, len(kinds))
    return kinds


def _row(
    before: _Coefficients, x: _Coefficients, level: Level, is_noise: Bool[Tensor, " n"], vectors_before: int
) -> TableRow:
    """The row from x `before` to `x`: as much of the former as its largest noise shows, and the rest as weights."""
    n = len(is_noise)
    before, x = before[:n], x[:n]
    earlier = is_noise & (torch.arange(n) < vectors_before)
    pivot = (before.abs() * earlier).argmax()
    keep = (x[pivot] / before[pivot]).item() if before[pivot] else 0.0
    rest = x - keep * before
    rest[rest.abs() <= NEGLIGIBLE * x.abs().max()] = 0
    if rest[earlier].any():
        raise ValueError("this sampler uses an earlier noise again, so it is no table of numbers")
    predictions = rest[~is_noise].flip(0)
    used = int(predictions.nonzero().max()) + 1 if predictions.any() else 0
    noises = rest[is_noise & ~earlier]
    return TableRow(keep, tuple(predictions[:used].tolist()), tuple(noises.tolist()), level)


def _with_ratio(small: TableRow, large: TableRow) -> TableRow:
    """The row of a learned variance, from the rows of the smallest and of the largest."""
    ratios = [high / low for low, high in zip(small.noises, large.noises, strict=True)]
    return replace(small, variance_ratio=ratios[0]) if ratios else small


def _check_agreement(sampler: Sampler, levels: Level, rows: Sequence[TableRow]) -> None:
    """Raise ValueError unless the table gives what the sampler gives, for random noises and predictions."""

    def vectors() -> Callable[[], Float[Tensor, "1 n"]]:
        random = torch.Generator().manual_seed(0)
        return lambda: torch.randn(1, 8, dtype=torch.float64, generator=random)

    noise, predict = vectors(), vectors()
    denoise = DenoiserWithVariance(lambda x, level: (predict(), torch.zeros_like(x)))
    expected = final_step(sampler(denoise, levels[0].sigma * noise(), levels, noise)).x
    noise, predict = vectors(), vectors()
    *_, found = apply_table(rows, lambda x, level: predict(), noise)
    if not torch.allclose(found, expected, rtol=AGREEMENT, atol=AGREEMENT):
        raise ValueError(f"{sampler} is not linear in noise and predictions, so it is no table of numbers")
