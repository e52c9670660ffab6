"""Every named recipe can be trained and sampled."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from limpid.data import Cifar10, DataSource, Digits
from limpid.nets import UNet
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import TrainingRuntime
from limpid.sampling.labels import balanced_labels
from limpid.sampling.pipeline import Pipeline
from limpid.training.loop import training_loop
from limpid.training.state import init_state

CPU = TrainingRuntime("cpu", "float32").resolve()


def narrow(recipe: Recipe, root: Path) -> Recipe:
    """The recipe with a sixteenth of the width, few images and few steps of the sampler."""
    assert isinstance(recipe.network, UNet)
    network = replace(recipe.network, model_channels=max(8, recipe.network.model_channels // 16), head_channels=0)
    sampling = replace(recipe.sampling, steps=4)
    data = recipe.data if isinstance(recipe.data, Digits) else Cifar10(getattr(recipe.data, "size", 32), root=str(root))
    return replace(recipe, duration=16, batch_size=8, network=network, sampling=sampling, data=data)


@cache
def opened(data: Cifar10 | Digits) -> DataSource:
    """The images of a recipe, read once for all recipes on the same ones."""
    return data.open("cpu")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_on_real_images_and_samples(name: str, cifar_root: Path):
    recipe = narrow(RECIPES[name](), cifar_root)
    source = opened(recipe.data)
    state = init_state(recipe, source.shape, source.classes, CPU)
    before = [weight.clone() for weight in state.model.parameters()]
    losses = [report.loss.mean().item() for report in training_loop(state, recipe, source, CPU)]
    assert len(losses) == 2
    assert all(0 < loss < 10 for loss in losses)
    assert any(not torch.equal(a, b) for a, b in zip(before, state.model.parameters(), strict=True))
    labels = balanced_labels(2, source.classes) if recipe.class_conditional else None
    (pixels,) = Pipeline(state.ema, recipe, source.shape, runtime=CPU).sample_batches([0, 1], labels)
    assert pixels.shape == (2, *source.shape)


@pytest.mark.parametrize("name", RECIPES)
def test_the_docstring_of_a_recipe_has_its_cost_and_published_score(name: str):
    output = RECIPES[name].__doc__ or ""
    assert "Cost:" in output
    assert name.startswith("demo") or "FID" in output
