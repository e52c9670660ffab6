"""A recipe tried out before hours go into it: what could not be learnt or drawn in the end is found out at once."""

from itertools import islice

import torch
from torch import Tensor, nn

from limpid.diffusion.losses import check_noisiest_loss
from limpid.diffusion.variance import chain
from limpid.learning.machine import Machine
from limpid.recipe import Recipe, build
from limpid.sample import Shape, load_guide, trajectory
from limpid.show import preview


def rehearse(recipe: Recipe, shape: Shape, classes: int, machine: Machine) -> None:
    """Build the recipe's network without its weights, and begin to draw with one that answers nothing.

    Raises ValueError for what cannot be built, learnt, guided or drawn; a weaker network that guides is loaded and
    asked once.
    """
    with torch.device("meta"):
        model = build(recipe, shape, classes)
    check_noisiest_loss(recipe.weight, recipe.target, recipe.schedule, recipe.learned_variance)
    if recipe.learned_variance:
        chain(recipe.schedule, torch.ones(1, dtype=torch.float64))
    model.net = Blank(shape[0] * (2 if recipe.learned_variance else 1))
    labels = torch.zeros(1, dtype=torch.long, device=machine.device) if recipe.conditional else None
    guide = load_guide(recipe.sampling, machine)
    for way in (recipe, preview(recipe)):
        list(
            islice(trajectory(model, way, [0], shape, machine, labels, guide), 2)
        )  # the noise, and the first step down


class Blank(nn.Module):
    """A network with nothing in it: zeros of so many channels, whatever it is shown."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        b, _, h, w = x.shape
        return x.new_zeros(b, self.channels, h, w)
