"""Samplers that remember: one evaluation a step, and what the last steps saw is extrapolated over the next.

What is extrapolated is the picture, in lambda = ln(alpha / sigma) (DPM-Solver++, UniPC), or the noise, in lambda (DEIS)
or in sigma / alpha (LMS). Each holds the average of its polynomial over the step, which an exact step then moves by.
Pure noise and no noise lie at infinite lambda, through which no polynomial runs: a step from or to them is of order 1.
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
    """A picture or a noise, and when it was seen."""

    what: Batch
    time: float


def lambda_of(level: Level) -> float:
    """Half the log-SNR, ln(alpha / sigma): the time of the DPM-Solver papers."""
    return (level.logsnr / 2).item()


def extrapolated_mean(seen: Sequence[Evaluation], end: float, speed: float) -> Batch:
    """The mean of what was `seen`, newest first, over the step from there to `end`, weighed by exp(speed * time)."""
    if len(seen) == 1:
        return seen[0].what
    start = seen[0].time
    width = end - start
    return polynomial_mean([old.what for old in seen], [(old.time - start) / width for old in seen], speed * width)


def warmup_orders(levels: Level, order: int) -> list[int]:
    """The order of each step, which is at most the number of pictures seen; one seen in pure noise is forgotten."""
    blind = int(levels.logsnr[0].isinf())
    return [min(order, max(1, i + 1 - blind)) for i in range(len(levels) - 1)]


def lower_order_final(levels: Level, order: int) -> list[int]:
    """As `rising`, and if the last step goes to no noise at most the number of steps left: ... 3, 2, 1."""
    orders = warmup_orders(levels, order)
    if levels.logsnr[-1].isfinite():
        return orders
    return [min(most, len(orders) - i) for i, most in enumerate(orders)]


def second_order_final(levels: Level, order: int) -> list[int]:
    """As `rising`, and of a last step that goes to no noise 2 at most: it may be far longer than those before it."""
    *orders, last = warmup_orders(levels, order)
    return [*orders, last if levels.logsnr[-1].isfinite() else min(2, last)]


@dataclass(frozen=True)
class DpmSolverPP:
    """DPM-Solver++ (Lu et al. 2022b), multistep: of the given order, one evaluation a step, for 10 to 30 steps.

    2 is the paper's 2M and the safe choice; 3 its 3M, for models without strong guidance; 1 is `Ddim`. With `sde` it
    solves the stochastic equation (the paper's SDE-DPM-Solver++), for 20 to 60 steps: fresh noise makes up for earlier
    errors, and the law drawn converges with order 2 at most. Order 1 is then `Ancestral`.
    """

    order: Literal[1, 2, 3] = 2
    sde: bool = False

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        seen: deque[Evaluation] = deque(maxlen=self.order)
        for (here, there), order in zip(level_pairs(levels), lower_order_final(levels, self.order), strict=True):
            x0 = denoise(x, here)
            seen.appendleft(Evaluation(x0, lambda_of(here)))
            ahead = extrapolated_mean(
                list(islice(seen, order)), lambda_of(there), _exponent(order, 2 if self.sde else 1)
            )
            std = ancestral_std(here, there) if self.sde else 0 * there.sigma
            x = add_fresh_noise(step_to_mean(x, ahead, std, here, there), std, noise)
            yield SamplerStep(x, x0, there)


@dataclass(frozen=True)
class UniPC:
    """UniPC (Zhao et al. 2023, algorithms 1 and 2, B_2): predicts as `DpmSolverPP`, corrects by what it sees there.

    The correction raises the order by one and costs nothing, since its evaluation is that of the next step: one
    evaluation a step, for 5 to 20 steps. 2 suits strong guidance, 3 models without.
    """

    order: Literal[1, 2, 3] = 2

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        seen: deque[Evaluation] = deque(maxlen=self.order)
        before: tuple[Batch, Level, list[Evaluation]] | None = None
        for (here, there), order in zip(level_pairs(levels), lower_order_final(levels, self.order), strict=True):
            x0, time = denoise(x, here), lambda_of(here)
            if before is not None:
                last_x, last, known = before
                between = extrapolated_mean([*known, Evaluation(x0, time)], time, _exponent(len(known) + 1, 1))
                x = step_x0(last_x, between, last, here)
            seen.appendleft(Evaluation(x0, time))
            known = list(islice(seen, order))
            before = (x, here, known) if here.logsnr.isfinite() else None
            x = step_x0(x, extrapolated_mean(known, lambda_of(there), _exponent(order, 1)), here, there)
            yield SamplerStep(x, x0, there)


def _exponent(values: int, speed: float) -> float:
    """How the average over a step grows with lambda: both papers take two values at even weight, as good to order 2."""
    return speed if values > 2 else 0


@dataclass(frozen=True)
class Deis:
    """DEIS (Zhang and Chen 2023), the noise a polynomial in ln(sigma / alpha): one evaluation a step.

    Of the given order, for 10 to 20 steps. 3 is the paper's best; 1 is `Ddim`.
    """

    order: Literal[1, 2, 3, 4] = 3

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        return _adams(denoise, x, levels, lower_order_final(levels, self.order), lambda_of, -1)


@dataclass(frozen=True)
class Lms:
    """Adams and Bashforth's linear multistep method in sigma / alpha, with the weights of uneven steps: one evaluation.

    Of the given order, for 20 to 50 steps; 4 is usual. 1 is `Ddim`. It is the least stable of the family when steps
    are few. A last step to no noise is of order 2, unlike k-diffusion's: where it is longer than those before, a
    polynomial of order 4 leaves the noises that it runs through far behind.
    """

    order: Literal[1, 2, 3, 4] = 4

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        orders = second_order_final(levels, self.order)
        return _adams(denoise, x, levels, orders, lambda level: level.edm_sigma.item(), 0)


def _adams(
    denoise: Denoise, x: Batch, levels: Level, orders: list[int], time: Callable[[Level], float], speed: float
) -> Iterator[SamplerStep]:
    """Steps that hold the average noise, a polynomial in `time`, which weighs exp(speed * time).

    The noises in `seen` are kept less the newest of them, as `step_eps` needs them.
    """
    seen: deque[Evaluation] = deque(maxlen=max(orders))
    before: tuple[Batch, Batch | None, Level] | None = None
    for (here, there), order in zip(level_pairs(levels), orders, strict=True):
        x0 = denoise(x, here)
        if before is not None:
            last_x0, away, last = before
            change = eps_change(last_x0, x0, away, last, here)
            seen = deque((Evaluation(old.what - change, old.time) for old in seen), maxlen=seen.maxlen)
        seen.appendleft(Evaluation(torch.zeros_like(x0), time(here)))
        away = extrapolated_mean(list(islice(seen, order)), time(there), speed) if order > 1 else None
        x = step_x0(x, x0, here, there) if away is None else step_eps(x, x0, away, here, there)
        before = (x0, away, here)
        yield SamplerStep(x, x0, there)
