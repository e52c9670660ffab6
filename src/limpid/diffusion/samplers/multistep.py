"""Multistep samplers: one network evaluation a step, and a polynomial through the last outputs is extrapolated.

DPM-Solver++ and UniPC extrapolate x0 in lambda = ln(alpha / sigma), DEIS the noise in lambda, LMS the noise in
sigma / alpha. Each takes an exact step with the mean of its polynomial over the step. Pure noise and no noise lie at
infinite lambda, where a polynomial has no value: a step from or to them is of order 1.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

import torch

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers.interpolation import polynomial_mean
from limpid.diffusion.samplers.steps import (
    Noise,
    SamplerStep,
    add_fresh_noise,
    ancestral_std,
    eps_change,
    level_pairs,
    step_eps,
    step_to_mean,
    step_x0,
)


class Evaluation(NamedTuple):
    """An x0 or a noise, and the time of its evaluation."""

    value: Batch
    time: float


def lambda_of(level: Level) -> float:
    """Half the log-SNR, ln(alpha / sigma): the time of the DPM-Solver papers."""
    return (level.logsnr / 2).item()


def extrapolated_mean(history: Sequence[Evaluation], end: float, rate: float) -> Batch:
    """The mean of the polynomial through `history`, newest first, from the newest time to `end`, weighted by
    exp(rate * time)."""
    if len(history) == 1:
        return history[0].value
    start = history[0].time
    width = end - start
    return polynomial_mean(
        [old.value for old in history], [(old.time - start) / width for old in history], rate * width
    )


def warmup_orders(levels: Level, order: int) -> list[int]:
    """The order of each step: at most the number of evaluations so far, without one at pure noise, which is not
    reused."""
    unusable = int(levels.logsnr[0].isinf())
    return [min(order, max(1, i + 1 - unusable)) for i in range(len(levels) - 1)]


def lower_order_final(levels: Level, order: int) -> list[int]:
    """As `warmup_orders`, and if the last step goes to sigma = 0 at most the number of steps left: ... 3, 2, 1."""
    orders = warmup_orders(levels, order)
    if levels.logsnr[-1].isfinite():
        return orders
    return [min(order, len(orders) - i) for i, order in enumerate(orders)]


def second_order_final(levels: Level, order: int) -> list[int]:
    """As `warmup_orders`, and at most 2 for a last step to sigma = 0: it may be far longer than those before it."""
    *orders, last = warmup_orders(levels, order)
    return [*orders, last if levels.logsnr[-1].isfinite() else min(2, last)]


@dataclass(frozen=True)
class DpmSolverPP:
    """DPM-Solver++ (Lu et al. 2022b), multistep: one evaluation a step, for 10 to 30 steps.

    Order 2 is the paper's 2M and the safe choice; 3 its 3M, for models without strong guidance; 1 is `Ddim`. With `sde`
    it solves the stochastic equation (the paper's SDE-DPM-Solver++), for 20 to 60 steps: fresh noise corrects earlier
    errors, and the distribution of samples converges with order 2 at most. Order 1 is then `Ancestral`.
    """

    order: Literal[1, 2, 3] = 2
    sde: bool = False

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        history: deque[Evaluation] = deque(maxlen=self.order)
        for (source, target), order in zip(level_pairs(levels), lower_order_final(levels, self.order), strict=True):
            x0 = denoise(x, source)
            history.appendleft(Evaluation(x0, lambda_of(source)))
            rate = _exponent(order, 2 if self.sde else 1)
            mean_x0 = extrapolated_mean(list(islice(history, order)), lambda_of(target), rate)
            std = ancestral_std(source, target) if self.sde else 0 * target.sigma
            x = add_fresh_noise(step_to_mean(x, mean_x0, std, source, target), std, noise)
            yield SamplerStep(x, x0, target)


@dataclass(frozen=True)
class UniPC:
    """UniPC (Zhao et al. 2023, algorithms 1 and 2, B_2): predicts as `DpmSolverPP`, corrects by the next evaluation.

    The correction raises the order by one at no cost, since its evaluation is that of the next step: one evaluation a
    step, for 5 to 20 steps. Order 2 is for strong guidance, order 3 for models without.
    """

    order: Literal[1, 2, 3] = 2

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        history: deque[Evaluation] = deque(maxlen=self.order)
        before: tuple[Batch, Level, list[Evaluation]] | None = None
        for (source, target), order in zip(level_pairs(levels), lower_order_final(levels, self.order), strict=True):
            x0, time = denoise(x, source), lambda_of(source)
            if before is not None:
                last_x, last, known = before
                mean_x0 = extrapolated_mean([*known, Evaluation(x0, time)], time, _exponent(len(known) + 1, 1))
                x = step_x0(last_x, mean_x0, last, source)
            history.appendleft(Evaluation(x0, time))
            known = list(islice(history, order))
            before = (x, source, known) if source.logsnr.isfinite() else None
            x = step_x0(x, extrapolated_mean(known, lambda_of(target), _exponent(order, 1)), source, target)
            yield SamplerStep(x, x0, target)


def _exponent(values: int, rate: float) -> float:
    """The rate of the weight in lambda. With two values both papers weight evenly, which has order 2 as well."""
    return rate if values > 2 else 0


@dataclass(frozen=True)
class Deis:
    """DEIS (Zhang and Chen 2023), the noise a polynomial in ln(sigma / alpha): one evaluation a step, for 10 to 20
    steps.

    Order 3 is the paper's best; 1 is `Ddim`.
    """

    order: Literal[1, 2, 3, 4] = 3

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        return _adams(denoise, x, levels, lower_order_final(levels, self.order), lambda_of, -1)


@dataclass(frozen=True)
class Lms:
    """The linear multistep method of Adams and Bashforth in sigma / alpha, for uneven steps: one evaluation a step.

    For 20 to 50 steps; order 4 is usual, 1 is `Ddim`. It is the least stable of the multistep samplers when steps are
    few. A last step to sigma = 0 is of order 2, unlike k-diffusion's: it may be longer than those before, and a
    polynomial of order 4 would extrapolate too far.
    """

    order: Literal[1, 2, 3, 4] = 4

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        orders = second_order_final(levels, self.order)
        return _adams(denoise, x, levels, orders, lambda level: level.edm_sigma.item(), 0)


def _adams(
    denoise: Denoise, x: Batch, levels: Level, orders: list[int], time: Callable[[Level], float], rate: float
) -> Iterator[SamplerStep]:
    """Steps with the mean of the noise, a polynomial in `time`, weighted by exp(rate * time).

    `history` holds differences from the newest noise, which is what `step_eps` needs.
    """
    history: deque[Evaluation] = deque(maxlen=max(orders))
    before: tuple[Batch, Batch | None, Level] | None = None
    for (source, target), order in zip(level_pairs(levels), orders, strict=True):
        x0 = denoise(x, source)
        if before is not None:
            last_x0, eps_offset, last = before
            change = eps_change(last_x0, x0, eps_offset, last, source)
            history = deque((Evaluation(old.value - change, old.time) for old in history), maxlen=history.maxlen)
        history.appendleft(Evaluation(torch.zeros_like(x0), time(source)))
        eps_offset = extrapolated_mean(list(islice(history, order)), time(target), rate) if order > 1 else None
        x = step_x0(x, x0, source, target) if eps_offset is None else step_eps(x, x0, eps_offset, source, target)
        before = (x0, eps_offset, source)
        yield SamplerStep(x, x0, target)
