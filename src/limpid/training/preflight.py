"""A recipe is checked before hours of training: can it be built, trained and sampled from?"""

import torch

from limpid.diffusion.learned_variance import posterior_bounds
from limpid.diffusion.losses import check_noisiest_loss
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.runtime.device import Runtime
from limpid.sampling.first_step import check_first_step
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import ImageShape


def preflight(recipe: Recipe, shape: ImageShape, classes: int, runtime: Runtime) -> None:
    """Build the recipe's network on the meta device, and take a sampling step with zeros as its output.

    Raises ValueError for what cannot be built, trained, guided or sampled from; a guidance model is loaded and
    evaluated once.
    """
    with torch.device("meta"):
        model = build_denoiser(recipe, shape, classes)
    check_noisiest_loss(recipe.loss_weighting, recipe.target, recipe.schedule, recipe.learned_variance)
    if recipe.learned_variance:
        posterior_bounds(recipe.schedule, torch.ones(1, dtype=torch.float64))
    labels = [0] if recipe.class_conditional else None
    pipeline = Pipeline(model, recipe, shape, runtime=runtime).with_guide()
    for sampling in (pipeline, pipeline.for_preview()):
        check_first_step(sampling, labels)
