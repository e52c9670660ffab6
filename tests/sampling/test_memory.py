"""Sampling and editing take the memory of one step, however many there are."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_recipes import CPU, TINY
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from limpid.diffusion.editing import inpaint, interpolate, invert, sdedit
from limpid.diffusion.level import Level
from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.samplers import (
    Ancestral,
    Ddim,
    Deis,
    Dopri5,
    DpmSolverPP,
    DpmSolverPP2S,
    Heun,
    Lms,
    Sampler,
    UniPC,
)
from limpid.diffusion.samplers.steps import SamplerStep, final_step
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.recipes.recipe import build_denoiser
from limpid.runtime.rng import generator
from limpid.sampling.pipeline import Pipeline

SAMPLERS = [
    *(Ancestral(), Ddim(), Ddim(1.0), Heun(churn=3), DpmSolverPP(3), DpmSolverPP(3, sde=True), DpmSolverPP2S()),
    *(UniPC(3), Deis(4), Lms(4), Dopri5()),
]
LAW = Gaussian(torch.tensor(0.4), torch.tensor(0.3))
SHAPE = (4, 3, 32, 32)
BATCH = 4 * 3 * 32 * 32 * 4
"""Bytes of such images in float32."""


class Tally(TorchDispatchMode):
    """The bytes of all tensors made inside that are alive, and the most that they ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (key := (storage := tensor.untyped_storage())._cdata) not in self.alive:
                self.alive[key] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, key)
        self.peak = max(self.peak, sum(self.alive.values()))
        return result


def peak(act: Callable[[], object]) -> int:
    """The most bytes that were alive at once."""
    with torch.no_grad(), Tally() as tally:
        act()
    return tally.peak


def noise() -> Tensor:
    return torch.randn(SHAPE, generator=generator("cpu", 1))


def levels(steps: int) -> Level:
    return sampling_levels(Karras(), steps)


def test_live_tensors_are_counted():
    assert peak(lambda: [noise() for _ in range(10)]) >= 10 * BATCH
    assert peak(lambda: final_step(SamplerStep(noise(), noise(), levels(2)[0]) for _ in range(10))) < 6 * BATCH


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_a_sampler_holds_as_much_in_fifty_steps_as_in_ten(sampler: Sampler):
    def walk(steps: int) -> Callable[[], SamplerStep]:
        return lambda: final_step(sampler(LAW, 80 * noise(), levels(steps), noise))

    assert peak(walk(50)) < peak(walk(10)) + BATCH


EDITS: dict[str, Callable[[Tensor, Level], Iterator[SamplerStep]]] = {
    "inpaint": lambda x0, levels: inpaint(LAW, 80 * noise(), levels, noise, x0, x0[0] > 0),
    "vary": lambda x0, levels: sdedit(Heun(), LAW, x0, levels, noise),
    "invert": lambda x0, levels: invert(Heun(), LAW, x0, levels),
    "interpolate": lambda x0, levels: interpolate(Heun(), LAW, x0[:2], torch.linspace(0, 1, 4), levels),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_holds_as_much_in_fifty_steps_as_in_ten(edit: str):
    def walk(steps: int) -> Callable[[], SamplerStep]:
        return lambda: final_step(EDITS[edit](noise(), levels(steps)))

    assert peak(walk(50)) < peak(walk(10)) + BATCH


def test_samples_of_a_network_take_as_much_memory_in_fifty_steps_as_in_ten():
    model = build_denoiser(TINY, (1, 8, 8), 10).eval()

    def drawn(steps: int) -> Callable[[], object]:
        recipe = replace(TINY, sampling=replace(TINY.sampling, steps=steps, sampler=Ddim()))
        pipeline = Pipeline(model, recipe, (1, 8, 8), runtime=CPU)
        return lambda: list(pipeline.sample_batches(range(16), [i % 10 for i in range(16)]))

    assert peak(drawn(50)) < peak(drawn(10)) + 16 * 8 * 8 * 4
