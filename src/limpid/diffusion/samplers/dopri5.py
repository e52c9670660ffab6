"""An adaptive ODE solver, and the sampler that uses it: each step is as long as its error estimate allows.

On the circle alpha = cos(a), sigma = sin(a) the probability-flow ODE is dx/da = v, the velocity of Salimans and Ho
(2022), and every path is that circle, rescaled. v is finite at pure noise, a = pi / 2.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.diffusion.denoiser import Denoise
from limpid.diffusion.level import Batch, Level
from limpid.diffusion.samplers.steps import Noise, SamplerStep, step_x0

# The tableau of Dormand and Prince (1980), orders 5 and 4: nodes C and coefficients A. The last row of A is the result
# of order 5, whose slope is the first of the next step.
C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# The result of order 5 less that of order 4.
B_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
MIN_STEP_SIZE = 1e-9  # in radians or in ln sigma: a finite slope needs no step as short as this
State = Float[Tensor, "b *d"]


class OdeStep(NamedTuple):
    """An accepted step of the solver: the time reached, and the state and slope there."""

    t: float
    x: State
    slope: State


def dopri5_steps(
    slope: Callable[[float, State], State],
    x: State,
    span: tuple[float, float],
    first_step: float,
    error_ratio: Callable[[State, State, State], float],
) -> Iterator[OdeStep]:
    """The accepted steps of the solution of dx/dt = slope(t, x) over `span`, in either direction; the start is the
    first.

    `error_ratio(error, old x, new x)` is the error divided by its tolerance: a step is accepted if it is at most 1.
    Raises FloatingPointError if no step is short enough, as when the slope is not finite.
    """
    (t, end), width = span, first_step
    v = slope(t, x)
    yield OdeStep(t, x, v)
    while t != end:
        t_new = max(t - width, end) if end < t else min(t + width, end)
        x_new, v_new, error = _trial_step(slope, x, v, t, t_new)
        ratio = error_ratio(error, x, x_new)
        if ratio <= 1:
            t, x, v = t_new, x_new, v_new
            yield OdeStep(t, x, v)
        # The error is proportional to the fifth power of the step size; 0.9, 0.2 and 5 prevent oscillation.
        width *= min(5.0, max(0.2, 0.9 * max(ratio, 1e-10) ** -0.2)) if math.isfinite(ratio) else 0.2
        if width < MIN_STEP_SIZE:
            raise FloatingPointError(f"no step is short enough at t = {t}: the slope is not finite")


@dataclass(frozen=True)
class Dopri5:
    """Dormand and Prince's pair on the probability-flow ODE (as Song et al. 2021b): order 5, six evaluations a trial
    step.

    For accurate trajectories, not for speed: n trial steps take 6 n + 1 network evaluations, usually 40 to 200. A step
    is accepted if no sample's error exceeds `atol + rtol |x|`, root mean square, and the next step size follows from
    the error; so a sample depends on its batch, within that tolerance. Of the levels only the ends count: the first,
    and the last with noise, from which a first-order step goes to 0. Each trial step reads one number back from the
    device.

    Raises ValueError for tolerances below the precision of x, FloatingPointError if the denoiser's output is not
    finite.
    """

    rtol: float = 1e-3
    atol: float = 1e-3

    def __call__(self, denoise: Denoise, x: Batch, levels: Level, noise: Noise) -> Iterator[SamplerStep]:
        if self.atol + self.rtol < torch.finfo(x.dtype).eps:
            raise ValueError(f"rtol={self.rtol} and atol={self.atol} are below the precision of {x.dtype}")
        low = levels[-1] if levels[-1].sigma > 0 else levels[-2]
        start, end, first_step = _angle(levels[0]), _angle(low), _angle(levels[0]) - _angle(levels[1])
        x = x / torch.hypot(levels[0].alpha, levels[0].sigma)
        steps = dopri5_steps(partial(_velocity, denoise), x, (start, end), first_step, self.error_ratio)
        x0 = x
        for angle, x, v in steps:
            x0 = _x0(x, v, angle)
            if angle != start:
                level = _level(angle) if angle > end else low
                yield SamplerStep(torch.hypot(level.alpha, level.sigma) * x, x0, level)
        if levels[-1].sigma == 0:
            yield SamplerStep(step_x0(x * torch.hypot(low.alpha, low.sigma), x0, low, levels[-1]), x0, levels[-1])

    def error_ratio(self, error: Batch, x: Batch, x_new: Batch) -> float:
        """The largest error of a sample, divided by its tolerance."""
        tolerance = self.atol + self.rtol * torch.maximum(x.abs(), x_new.abs())
        return (error / tolerance).flatten(1).square().mean(1).sqrt().max().item()


def _trial_step(
    slope: Callable[[float, State], State], x: State, v: State, t: float, t_new: float
) -> tuple[State, State, State]:
    """One step of the pair: the state at `t_new`, its slope, and the error of the state."""
    slopes, x_new = [v], x
    for node, row in zip(C, A, strict=True):
        x_new = x + (t_new - t) * _weighted_sum(row, slopes)
        slopes.append(slope(t + node * (t_new - t), x_new))
    return x_new, slopes[-1], (t_new - t) * _weighted_sum(B_ERROR, slopes)


def _weighted_sum(weights: Sequence[float], slopes: Sequence[State]) -> State:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        total = total + weight * slope
    return total


def _angle(level: Level) -> float:
    return torch.atan2(level.sigma, level.alpha).item()


def _level(angle: float) -> Level:
    return Level(*(torch.tensor(value, dtype=torch.float64) for value in (math.cos(angle), math.sin(angle))))


def _velocity(denoise: Denoise, angle: float, x: Batch) -> Batch:
    """alpha eps - sigma x0 = (alpha x - x0) / sigma."""
    return (math.cos(angle) * x - denoise(x, _level(angle))) / math.sin(angle)


def _x0(x: Batch, v: Batch, angle: float) -> Batch:
    """x0 from the velocity."""
    return math.cos(angle) * x - math.sin(angle) * v
