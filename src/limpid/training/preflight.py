"""A recipe is checked before hours of training: can it be built, trained and sampled from?"""

from itertools import islice

import torch
from torch import Tensor, nn

from limpid.diffusion.learned_variance import posterior_bounds
from limpid.diffusion.losses import check_noisiest_loss
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.runtime.device import Runtime
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import ImageShape


def preflight(recipe: Recipe, shape: ImageShape, classes: int, runtime: Runtime) -> None:
    """Build the recipe's network on the meta device, and take a sampling step with one that returns zeros.

    Raises ValueError for what cannot be built, trained, guided or sampled from; a guidance model is loaded and
    evaluated once.
    """
    with torch.device("meta"):
        model = build_denoiser(recipe, shape, classes)
    check_noisiest_loss(recipe.loss_weighting, recipe.target, recipe.schedule, recipe.learned_variance)
    if recipe.learned_variance:
        posterior_bounds(recipe.schedule, torch.ones(1, dtype=torch.float64))
    model.net = ZeroNetwork(shape[0] * (2 if recipe.learned_variance else 1))
    labels = [0] if recipe.class_conditional else None
    pipeline = Pipeline(model, recipe, shape, runtime=runtime).with_guide()
    for sampling in (pipeline, pipeline.for_preview()):
        list(islice(sampling.trajectory([0], labels=labels), 2))  # the noise, and the first step


class ZeroNetwork(nn.Module):
    """A network without weights that returns zeros with this many channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        b, _, h, w = x.shape
        return x.new_zeros(b, self.channels, h, w)
