"""A schedule, a target, a weighting, a sampler and a level sampler of one's own, and a run with all of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tiny_recipes import CPU, TINY
from torch import Tensor

from limpid.diffusion.level import Level, add_noise
from limpid.diffusion.samplers.steps import SamplerStep
from limpid.recipes.recipe import Every, Recipe
from limpid.sampling.pipeline import load
from limpid.training.api import train
from limpid.training.callbacks import Callback
from limpid.training.loop import StepMetrics
from limpid.training.training import Training


@dataclass(frozen=True)
class QuarterCircle:
    """alpha = cos and sigma = sin of an angle below a right one."""

    end: float = 1.5

    def __call__(self, u: Tensor) -> Level:
        return Level((u * self.end).cos(), (u * self.end).sin())


@dataclass(frozen=True)
class Sum:
    """The target x0 + eps."""

    def coefficients(self, level: Level) -> tuple[Tensor, Tensor]:
        return torch.ones_like(level.alpha), torch.ones_like(level.alpha)


@dataclass(frozen=True)
class Cubed:
    """A weight of alpha cubed."""

    def __call__(self, kind: Any, level: Level) -> Tensor:
        return level.alpha**3


@dataclass(frozen=True)
class Jump:
    """Samples x0 at each level, and puts new noise on it."""

    def __call__(self, denoise: Any, x: Tensor, levels: Level, noise: Any) -> Iterator[SamplerStep]:
        for i in range(len(levels) - 1):
            x0 = denoise(x, levels[i])
            x = add_noise(x0, noise(), levels[i + 1])
            yield SamplerStep(x, x0, levels[i + 1])


@dataclass(frozen=True)
class Middle:
    """More of the levels in the middle."""

    bins: int = 3

    def density(self, moments: Tensor) -> Tensor:
        return torch.tensor([0.5, 2.0, 0.5])


OWN: Recipe = replace(
    TINY,
    duration=96,
    network=replace(TINY.network, dropout=0.1),
    schedule=QuarterCircle(),
    target=Sum(),
    loss_weighting=Cubed(),
    level_sampler=Middle(),
    sampling=replace(TINY.sampling, steps=2, schedule=QuarterCircle(1.4), sampler=Jump()),
    every=Every(log=32, sample=32, save=32),
)


class StopAt48(Callback):
    """Asks for a stop after 48 images."""

    def on_step(self, step: StepMetrics, training: Training) -> None:
        if step.images_seen == 48:
            import signal

            signal.raise_signal(signal.SIGINT)


def train_twice_and_load(folder: str) -> None:
    """Train without a stop and with one, and load the checkpoint."""
    torch.set_num_threads(1)
    straight = train(OWN, run=Path(folder, "straight"), runtime=CPU)
    try:
        train(OWN, run=Path(folder, "parts"), runtime=CPU, callbacks=[StopAt48()])
        raise AssertionError("it was not stopped")
    except KeyboardInterrupt:
        train(OWN, run=Path(folder, "parts"), runtime=CPU)
    loaded = load(Path(folder, "parts"), runtime=CPU)
    assert loaded.recipe == straight.recipe == OWN
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, loaded.model.state_dict()[name])
