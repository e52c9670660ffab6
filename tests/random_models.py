"""Small models whose weights are all random, in a file of limpid."""

from pathlib import Path

import torch

from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.sampling.pipeline import Pipeline

NAMES = ("cat", "dog", "owl")


def random_pipeline(recipe: Recipe, shape: tuple[int, int, int] = (3, 8, 8)) -> Pipeline:
    """A model of a recipe, of whose weights every one changes the samples."""
    torch.manual_seed(1)
    names = NAMES if recipe.class_conditional else ()
    model = build_denoiser(recipe, shape, len(names))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return Pipeline(model.eval(), recipe, shape, names)


def saved_model(folder: Path, recipe: Recipe, shape: tuple[int, int, int] = (3, 8, 8)) -> str:
    """The file of such a model."""
    return str(random_pipeline(recipe, shape).save(folder / "checkpoints" / "model.safetensors"))
