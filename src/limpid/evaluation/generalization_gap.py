"""How much better a network knows its training pictures than pictures it never saw, at each level of noise."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.data.images import ImageDataset, normalize
from limpid.diffusion.losses import denoising_loss
from limpid.metrics.estimate import Estimate, difference, mean_of
from limpid.runtime.rng import generator
from limpid.sampling.pipeline import Pipeline
from limpid.viz.plot import Curve, curves

NUM_LEVELS = 10


@dataclass(frozen=True)
class GeneralizationGap:
    """The loss of training and of held-out pictures along the levels of training."""

    ratios: list[float]
    """sigma / alpha of each level."""
    training: Float[Tensor, "n levels"]
    held_out: Float[Tensor, "m levels"]

    @property
    def mean_gap(self) -> Estimate:
        """The mean loss of held-out pictures less that of training ones: noise around 0 where nothing was memorised."""
        return difference(mean_of(self.held_out.mean(1)), mean_of(self.training.mean(1)))

    def picture(self, path: Path) -> Path:
        """Both losses against the noise."""
        lines = {"training pictures": self.training, "held-out pictures": self.held_out}
        drawn = [Curve(name, self.ratios, loss.mean(0).tolist()) for name, loss in lines.items()]
        return curves(drawn, path, "loss by noise level", "sigma / alpha", "loss", log_x=True)


def generalization_gap(
    pipeline: Pipeline, training: ImageDataset, held_out: ImageDataset, n: int, batch: int = 64
) -> GeneralizationGap:
    """The losses of n pictures of each set, under the same noise, at levels evenly spread over training's."""
    u = (torch.arange(NUM_LEVELS, dtype=torch.float64) + 0.5) / NUM_LEVELS
    ratios = pipeline.recipe.schedule(u).edm_sigma.tolist()
    return GeneralizationGap(ratios, *(losses(pipeline, images, u, n, batch) for images in (training, held_out)))


@torch.no_grad()
def losses(
    pipeline: Pipeline, images: ImageDataset, u: Float[Tensor, " levels"], n: int, batch: int
) -> Float[Tensor, "n levels"]:
    """The loss of each of n pictures at each u; the k-th picture of sets of one size gets the same noise."""
    recipe, runtime, some, rows = pipeline.recipe, pipeline.runtime, images.subset(n), []
    for number, (pixels, labels) in enumerate(zip(some.pixels.split(batch), some.labels.split(batch), strict=True)):
        x0 = normalize(pixels).to(runtime.device).contiguous(memory_format=torch.channels_last)
        told = labels.to(runtime.device) if pipeline.class_names else None
        draw, columns = generator(runtime.device, "gap", number), []
        for at in u.tolist():
            level = recipe.schedule(torch.full((len(x0),), at, device=runtime.device))
            eps = torch.empty_like(x0).normal_(generator=draw)
            with runtime.autocast():
                columns.append(
                    denoising_loss(pipeline.model, x0, eps, level, told, recipe.loss_weighting, error_norm=recipe.loss)
                )
        rows.append(torch.stack(columns, 1).cpu())
    return torch.cat(rows)
