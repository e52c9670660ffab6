"""How much better a network knows its training pictures than pictures it never saw, at each level of noise."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.data.images import Images, from_pixels
from limpid.diffusion.losses import denoising_loss
from limpid.learning.machine import Machine
from limpid.learning.rng import generator
from limpid.metrics.interval import Estimate, difference, mean_of
from limpid.pictures.plot import Curve, curves
from limpid.sample import Trained

LEVELS = 10


@dataclass(frozen=True)
class Gap:
    """The loss of training and of held-out pictures along the levels of training."""

    ratios: list[float]
    """sigma / alpha of each level."""
    training: Float[Tensor, "n levels"]
    held_out: Float[Tensor, "m levels"]

    @property
    def size(self) -> Estimate:
        """The mean loss of held-out pictures less that of training ones: noise around 0 where nothing was memorised."""
        return difference(mean_of(self.held_out.mean(1)), mean_of(self.training.mean(1)))

    def picture(self, path: Path) -> Path:
        """Both losses against the noise."""
        lines = {"training pictures": self.training, "held-out pictures": self.held_out}
        drawn = [Curve(name, self.ratios, loss.mean(0).tolist()) for name, loss in lines.items()]
        return curves(drawn, path, "loss by noise level", "sigma / alpha", "loss", log_x=True)


def gap(trained: Trained, training: Images, held_out: Images, n: int, machine: Machine, batch: int = 64) -> Gap:
    """The losses of n pictures of each set, under the same noise, at levels evenly spread over training's."""
    u = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    ratios = trained.recipe.schedule(u).ratio.tolist()
    return Gap(ratios, *(losses(trained, images, u, n, machine, batch) for images in (training, held_out)))


@torch.no_grad()
def losses(
    trained: Trained, images: Images, u: Float[Tensor, " levels"], n: int, machine: Machine, batch: int
) -> Float[Tensor, "n levels"]:
    """The loss of each of n pictures at each u; the k-th picture of sets of one size gets the same noise."""
    recipe, some, rows = trained.recipe, images.some(n), []
    for number, (pixels, labels) in enumerate(zip(some.pixels.split(batch), some.labels.split(batch), strict=True)):
        x0 = from_pixels(pixels).to(machine.device).contiguous(memory_format=torch.channels_last)
        told = labels.to(machine.device) if trained.names else None
        draw, columns = generator(machine.device, "gap", number), []
        for at in u.tolist():
            level = recipe.schedule(torch.full((len(x0),), at, device=machine.device))
            eps = torch.empty_like(x0).normal_(generator=draw)
            with machine.autocast():
                columns.append(denoising_loss(trained.model, x0, eps, level, told, recipe.weight))
        rows.append(torch.stack(columns, 1).cpu())
    return torch.cat(rows)
