"""Every schedule x target x sampler, on data of which everything is known: prints docs/combinations.md.

A network that answers each target exactly for Gaussian data stands for a trained one. What a sampler then makes of pure
noise is Gaussian too, and its mean and standard deviation are found without chance: see `drawn`.

    python docs/combinations.py > docs/combinations.md
"""

from collections.abc import Iterator
from dataclasses import fields
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


class Perfect(nn.Module):
    """A network that answers its target exactly: it undoes the scaling of its input and asks the oracle."""

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


def perfect(kind: Target, law: Gaussian = LAW) -> Denoiser:
    """What a training run without error would end with."""
    return Denoiser(Perfect(kind, law), kind, LogSigma(), Karras())


def drawn(sampler: Sampler, denoise: Denoise, levels: Level, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of what a sampler draws, exactly, where the denoiser is affine in x.

    The end is then a constant plus a multiple of the start and of each noise drawn on the way. One sample of the batch
    is made of no noise at all, each of the others of one noise alone.
    """
    rows = torch.eye(len(levels) + 1, dtype=dtype)[:, :, None].expand(-1, -1, 2)
    sources = iter(rows.unbind(1)[1:])
    *_, end = sampler(denoise, levels[0].sigma * next(sources), levels, lambda: next(sources))
    mean = end.x[0]
    return mean, (end.x[1:] - mean).norm(dim=0)


def error(mean: Tensor, std: Tensor, law: Gaussian = LAW) -> float:
    """How far a law is from the data's: the larger error of mean and standard deviation, both in the latter."""
    return torch.maximum((mean - law.mean).abs() / law.std, (std / law.std - 1).abs()).max().item()


def levels_for(schedule: Schedule, kind: Target, steps: int = STEPS) -> tuple[Level, bool]:
    """The levels to sample a model so trained, and whether they are the schedule's own; else they are those of Karras.

    No sampler starts from infinite noise, or from pure noise if the network only says what noise it sees; and the plain
    step that ends each of them blurs what it meets at a sigma / alpha above 0.2.
    """
    karras = sampling_levels(Karras(), steps)
    try:
        levels = sampling_levels(schedule, steps)
    except ValueError:
        return karras, False
    a, b = kind.coefficients(levels[0])
    own = b * levels[0].alpha != a * levels[0].sigma and levels[-2].edm_sigma < 0.2
    return (levels, True) if own else (karras, False)


def cells(schedule: Schedule, kind: Target) -> Iterator[tuple[Sampler, float]]:
    """The error of each sampler, in float32."""
    levels, _ = levels_for(schedule, kind)
    with torch.no_grad():
        for sampler in SAMPLERS:
            yield sampler, error(*drawn(sampler, perfect(kind), levels, torch.float32))


def called(choice: Schedule | Target | Sampler) -> str:
    """The choice as one would write it, without what is so anyway."""
    said = [f"{f.name}={getattr(choice, f.name)!r}" for f in fields(choice) if getattr(choice, f.name) != f.default]
    return f"{type(choice).__name__}({', '.join(said)})" if said else type(choice).__name__


def table() -> str:
    """The page."""
    lines = [
        "# Every schedule with every target and every sampler",
        "",
        f"How far what is drawn in {STEPS} steps is from the data, with a network that makes no error: the larger",
        "of the error of the mean, in standard deviations, and the relative error of the standard deviation. The data",
        "are Gaussian, so both are computed without chance. Made by `docs/combinations.py`; a test runs each cell.",
        "",
        "A star: sampled along Karras, since a model trained on one schedule is sampled on any other. The schedule's",
        "own levels begin at infinite noise (LogNormal), begin at pure noise of which a network that says only the",
        "noise cannot tell the picture (Eps), or end far from the picture (Laplace).",
        "",
        "What is left with the solvers of second and higher order is the last step, a plain one, from the schedule's",
        "own last level. Heun keeps time by sigma / alpha, in which a step from nearly pure noise (Cosine) is long.",
        "",
        f"| schedule | target | {' | '.join(map(called, SAMPLERS))} |",
        f"|---|---|{'---|' * len(SAMPLERS)}",
    ]
    for schedule in SCHEDULES:
        for kind in TARGETS:
            star = "" if levels_for(schedule, kind)[1] else " *"
            row = " | ".join(f"{100 * wrong:.2f}%" for _, wrong in cells(schedule, kind))
            lines.append(f"| {called(schedule)}{star} | {called(kind)} | {row} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
