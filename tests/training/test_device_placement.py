"""A device that is not the CPU has all tensors of a run, as on a GPU: shown on `meta`, which computes nothing.

There tensors of two devices in one operation are an error, and so is reading a number back, which a GPU would have to
be waited for.
"""

import sys
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from typing import Any, get_args

import pytest
import torch
from tiny_recipes import FULL, TINY
from torch.utils._python_dispatch import TorchDispatchMode

from limpid.data.augment import Augment
from limpid.data.images import ImageDataset
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Sampler
from limpid.diffusion.samplers.dopri5 import Dopri5
from limpid.nets import UNet
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.recipes.registry import RECIPES
from limpid.runtime import rng
from limpid.runtime.device import TrainingRuntime
from limpid.sampling.pipeline import Pipeline
from limpid.training.loop import train_step
from limpid.training.state import init_state, state_dict

ELSEWHERE = TrainingRuntime("meta", "bfloat16", compile=False)
REAL = rng.generator
SHAPE = (3, 32, 32)


class Draws(torch.Generator):
    """A generator that says it is of the device; torch has none for it."""

    device = torch.device("meta")  # pyright: ignore[reportAssignmentType]


def generator(device: torch.device | str, *parts: int | str) -> torch.Generator:
    return Draws() if torch.device(device).type == "meta" else REAL(device, *parts)


@pytest.fixture(autouse=True)
def meta(monkeypatch: pytest.MonkeyPatch):
    """`meta` in the place of a GPU: with generators, without autocast, and allowed to the fused optimiser."""
    for name, module in list(sys.modules.items()):
        if name.startswith("limpid") and getattr(module, "generator", None) is REAL:
            monkeypatch.setattr(module, "generator", generator)
    monkeypatch.setattr(TrainingRuntime, "autocast", lambda _: nullcontext())
    monkeypatch.setattr(import_module("torch.optim.adam"), "_device_dtype_check_for_fused", lambda *_, **__: None)


def narrow(recipe: Recipe) -> Recipe:
    assert isinstance(recipe.network, UNet)
    network = replace(
        recipe.network,
        model_channels=16,
        channel_mult=recipe.network.channel_mult[:2],
        num_blocks=1,
        attn_resolutions=(16,),
        head_channels=min(recipe.network.head_channels, 16),
    )
    return replace(recipe, batch_size=8, network=network, augment=Augment(shift=2))


def random_images() -> ImageDataset:
    pixels, labels = torch.zeros(40, *SHAPE, dtype=torch.uint8), torch.zeros(40, dtype=torch.int64)
    return ImageDataset(pixels, labels, ("cat", "dog")).to("meta")


@pytest.mark.parametrize("name", [*RECIPES, "full"])
def test_a_step_of_training_leaves_nothing_behind(name: str):
    recipe = narrow(FULL if name == "full" else RECIPES[name]())
    images = random_images()
    state = init_state(recipe, SHAPE, images.classes, ELSEWHERE)
    batches = images.batches(0, recipe.batch_size, recipe.seed)
    _, report = (train_step(state, recipe, *next(batches), ELSEWHERE) for _ in range(2))
    metrics = [report.loss, report.importance_weight, report.logsnr, report.grad_norm]
    held = {name: value for name, value in state_dict(state).items() if not name.endswith(".step")}
    assert len(held) > 100
    assert {value.device.type for value in (*metrics, *held.values())} == {"meta"}


class OperatorRecorder(TorchDispatchMode):
    """Notes the operations that are done."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


ANY_ORDER = {"index_add", "index_add_", "scatter_add", "scatter_add_", "cumsum", "bincount", "histc", "index_put_"}
"""What a GPU sums in any order, so that two of them come to different bits, or refuses if it is to be deterministic."""


def test_all_gpus_come_to_the_same_bits():
    recipe, images = narrow(FULL), random_images()
    state = init_state(recipe, SHAPE, images.classes, ELSEWHERE)
    with OperatorRecorder() as recorded:
        train_step(state, recipe, *images.batch(0, recipe.batch_size, recipe.seed), ELSEWHERE)
    assert "convolution_backward" in recorded.names
    assert not recorded.names & ANY_ORDER


# Adaptive reads its error back in every step, as it must.
@pytest.mark.parametrize("kind", [kind for kind in get_args(Sampler) if kind is not Dopri5])
def test_drawing_leaves_nothing_behind(kind: type):
    sampling = replace(TINY.sampling, sampler=kind(), steps=4, guidance=Guidance(2.0))
    recipe = replace(narrow(TINY), class_conditional=True, label_dropout=0.1, sampling=sampling)
    model = ELSEWHERE.to_device(build_denoiser(recipe, SHAPE, 2))
    *_, last = Pipeline(model, recipe, SHAPE, runtime=ELSEWHERE).trajectory(range(2), labels=[0, 0])
    assert last.x.device.type == "meta"
