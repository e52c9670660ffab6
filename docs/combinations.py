"""Every schedule x target x sampler, on Gaussian data: prints docs/combinations.md.

A network that predicts each target exactly for Gaussian data takes the place of a trained one. The samples are then
Gaussian too, and their mean and standard deviation are computed without random numbers: see `output_moments`.

    python docs/combinations.py > docs/combinations.md
"""

from dataclasses import fields
from functools import cache
from typing import get_args

import torch
from torch import Tensor, nn

from limpid.diffusion.denoiser import Denoise, Denoiser, LogSigma
from limpid.diffusion.level import Level, eps_from
from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.samplers import Ancestral, Ddim, DpmSolverPP, Heun, Sampler, UniPC
from limpid.diffusion.schedules import Karras, Schedule, sampling_levels
from limpid.diffusion.targets import Target, target

LAW = Gaussian(torch.tensor([0.4, -0.2]), torch.tensor([0.3, 0.7]))
STEPS = 50

SCHEDULES: list[Schedule] = [kind() for kind in get_args(Schedule)]
TARGETS: list[Target] = [kind() for kind in get_args(Target)]
SAMPLERS: list[Sampler] = [
    *(kind() for kind in get_args(Sampler)),
    Ancestral("large"),
    Ddim(0.5),
    Heun(churn=10),
    DpmSolverPP(3),
    DpmSolverPP(sde=True),
    UniPC(3),
]


class ExactNetwork(nn.Module):
    """A network that predicts its target exactly: it undoes the scaling of its input, then is exact."""

    def __init__(self, kind: Target, law: Gaussian = LAW):
        super().__init__()
        self.kind, self.law = kind, law

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        """The target for x, from c_noise = ln(sigma / alpha) / 4."""
        ratio = (4 * c_noise.double()).exp()
        level = Level(torch.ones_like(ratio), ratio).to_vp()
        x = x.double() * torch.hypot(0.5 * level.alpha, level.sigma)[:, None]
        x0 = self.law(x, level)
        return target(self.kind, x0, eps_from(x0, x, level), level)


def exact_denoiser(kind: Target, law: Gaussian = LAW) -> Denoiser:
    """The denoiser that a training run without error would give."""
    return Denoiser(ExactNetwork(kind, law), kind, LogSigma(), Karras())


def output_moments(sampler: Sampler, denoise: Denoise, levels: Level, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The exact mean and standard deviation of a sampler's output, for a denoiser that is affine in x.

    The output is then a constant plus a multiple of the initial noise and of the noise of each step. The first sample
    of the batch gets no noise at all, each of the others only one of these.
    """
    rows = torch.eye(len(levels) + 1, dtype=dtype)[:, :, None].expand(-1, -1, 2)
    sources = iter(rows.unbind(1)[1:])
    *_, end = sampler(denoise, levels[0].sigma * next(sources), levels, lambda: next(sources))
    mean = end.x[0]
    return mean, (end.x[1:] - mean).norm(dim=0)


def error(mean: Tensor, std: Tensor, law: Gaussian = LAW) -> float:
    """The larger error of mean and standard deviation against the data's, both in units of the latter."""
    return torch.maximum((mean - law.mean).abs() / law.std, (std / law.std - 1).abs()).max().item()


def levels_for(schedule: Schedule, kind: Target, steps: int = STEPS) -> tuple[Level, bool]:
    """The levels for sampling a model of this schedule and target: the schedule's own (True), else those of Karras.

    No sampler starts from infinite noise, or from pure noise if the network predicts the noise alone; and the last
    step of every sampler, of order 1, has a visible error if it starts at a sigma / alpha above 0.2.
    """
    karras = sampling_levels(Karras(), steps)
    try:
        levels = sampling_levels(schedule, steps)
    except ValueError:
        return karras, False
    a, b = kind.coefficients(levels[0])
    own = b * levels[0].alpha != a * levels[0].sigma and levels[-2].edm_sigma < 0.2
    return (levels, True) if own else (karras, False)


def cells(schedule: Schedule, kind: Target) -> list[float]:
    """The error of each of `SAMPLERS` for a model of this schedule and target."""
    _, own = levels_for(schedule, kind)
    return errors(schedule if own else Karras(), kind)


@cache
def errors(schedule: Schedule, kind: Target) -> list[float]:
    """The error of each of `SAMPLERS` along the levels of a schedule, in float32."""
    levels, denoise = sampling_levels(schedule, STEPS), exact_denoiser(kind)
    with torch.no_grad():
        return [error(*output_moments(sampler, denoise, levels, torch.float32)) for sampler in SAMPLERS]


def label_of(choice: Schedule | Target | Sampler) -> str:
    """The choice as one would write it, without fields that have their default values."""
    changed = [f"{f.name}={getattr(choice, f.name)!r}" for f in fields(choice) if getattr(choice, f.name) != f.default]
    return f"{type(choice).__name__}({', '.join(changed)})" if changed else type(choice).__name__


def table() -> str:
    """The page."""
    lines = [
        "# Every schedule with every target and every sampler",
        "",
        f"The error of the distribution that {STEPS} sampling steps give with a network that makes no error: the",
        "larger of the error of the mean, in standard deviations, and the relative error of the standard deviation.",
        "The data are Gaussian, so both are computed without random numbers. Made by `docs/combinations.py`; a test",
        "runs each cell.",
        "",
        "A star marks rows that are sampled along Karras, since a model trained on one schedule can be sampled on",
        "any other. The schedule's own levels begin at infinite noise (LogNormal), begin at pure noise, where a",
        "prediction of the noise does not determine x0 (Eps), or end far from the data (Laplace).",
        "",
        "What remains with solvers of second and higher order is the error of the last step, which is of order 1,",
        "from the schedule's own last level. The time variable of Heun is sigma / alpha, in which a step from nearly",
        "pure noise (Cosine) is long.",
        "",
        f"| schedule | target | {' | '.join(map(label_of, SAMPLERS))} |",
        f"|---|---|{'---|' * len(SAMPLERS)}",
    ]
    for schedule in SCHEDULES:
        for kind in TARGETS:
            star = "" if levels_for(schedule, kind)[1] else " *"
            row = " | ".join(f"{100 * wrong:.2f}%" for wrong in cells(schedule, kind))
            lines.append(f"| {label_of(schedule)}{star} | {label_of(kind)} | {row} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
