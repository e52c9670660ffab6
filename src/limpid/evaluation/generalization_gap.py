"""The generalization gap: the loss of held-out images minus that of training images, at each noise level."""

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
    """The losses of training and held-out images at levels of the training schedule."""

    ratios: list[float]
    """sigma / alpha of each level."""
    training: Float[Tensor, "n levels"]
    held_out: Float[Tensor, "m levels"]

    @property
    def mean_gap(self) -> Estimate:
        """The mean loss of held-out images minus that of training images: noise around 0 if nothing was memorized."""
        return difference(mean_of(self.held_out.mean(1)), mean_of(self.training.mean(1)))

    def save_figure(self, path: Path) -> Path:
        """Write a plot of both losses against the noise level."""
        losses = {"training images": self.training, "held-out images": self.held_out}
        lines = [Curve(name, self.ratios, loss.mean(0).tolist()) for name, loss in losses.items()]
        return curves(lines, path, "loss by noise level", "sigma / alpha", "loss", log_x=True)


def generalization_gap(
    pipeline: Pipeline, training: ImageDataset, held_out: ImageDataset, n: int, batch_size: int = 64
) -> GeneralizationGap:
    """The losses of n images of each set, with the same noise, at evenly spaced u of the training schedule."""
    u = (torch.arange(NUM_LEVELS, dtype=torch.float64) + 0.5) / NUM_LEVELS
    ratios = pipeline.recipe.schedule(u).edm_sigma.tolist()
    losses = [loss_by_level(pipeline, images, u, n, batch_size) for images in (training, held_out)]
    return GeneralizationGap(ratios, *losses)


@torch.no_grad()
def loss_by_level(
    pipeline: Pipeline, images: ImageDataset, u: Float[Tensor, " levels"], n: int, batch_size: int
) -> Float[Tensor, "n levels"]:
    """The loss of each of n images at each u; image k has the same noise in two sets of equal size."""
    recipe, runtime, subset, rows = pipeline.recipe, pipeline.runtime, images.subset(n), []
    batches = zip(subset.pixels.split(batch_size), subset.labels.split(batch_size), strict=True)
    for number, (pixels, labels) in enumerate(batches):
        x0 = normalize(pixels).to(runtime.device).contiguous(memory_format=torch.channels_last)
        condition = labels.to(runtime.device) if pipeline.class_names else None
        noise_generator, columns = generator(runtime.device, "gap", number), []
        for each in u.tolist():
            level = recipe.schedule(torch.full((len(x0),), each, device=runtime.device))
            eps = torch.empty_like(x0).normal_(generator=noise_generator)
            with runtime.autocast():
                loss = denoising_loss(
                    pipeline.model, x0, eps, level, condition, recipe.loss_weighting, error_norm=recipe.loss
                )
            columns.append(loss)
        rows.append(torch.stack(columns, 1).cpu())
    return torch.cat(rows)
