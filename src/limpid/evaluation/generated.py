"""The images that are evaluated: samples of a model, or images from files."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from limpid.data.images import ImageDataset
from limpid.diffusion.denoiser import Denoiser
from limpid.recipes.serialize import to_dict
from limpid.runtime.versions import version
from limpid.sampling.labels import labels_by_share
from limpid.sampling.pipeline import Pipeline
from limpid.storage.chunk_cache import Chunk
from limpid.storage.hashing import pixels_sha256, weights_sha256


class GeneratedImages(NamedTuple):
    """Numbered images to be evaluated."""

    name: str
    provenance: dict[str, Any]
    """How they were generated."""
    n: int
    batch: Callable[[range], Chunk]
    """The images of these numbers: `pixels`, and for samples of a model `nfe`, the network evaluations of each."""
    labels: Int[Tensor, " n"] | None
    """The class that each image was conditioned on; None without labels."""
    class_names: tuple[str, ...]
    cache_dir: Path | None
    """The folder where samples are cached; None for images from files."""


def generated_by(
    pipeline: Pipeline,
    name: str,
    folder: Path | None,
    weights: Literal["ema", "raw"],
    seeds: range,
    batch_size: int,
) -> GeneratedImages:
    """The samples of a model from `seeds`, cached in `folder` if one is given.

    The classes of a conditional model have the proportions of its training set.
    """
    pipeline, class_shares, sampling = pipeline.with_guide(), pipeline.class_shares, pipeline.recipe.sampling
    labels = torch.tensor(labels_by_share(seeds, class_shares)) if pipeline.class_names else None
    is_uneven = len(set(class_shares)) > 1
    guide, precision = pipeline.guide, pipeline.runtime.precision
    digest, guide_digest = weights_sha256(pipeline.model.net), weights_sha256(guide.net) if guide else ""
    cache_key = {
        "limpid": version("limpid"),
        "weights": digest,
        "guide": guide_digest,
        "sampling": to_dict(sampling),
        "seed": seeds.start,
        "precision": precision,
        **({"class counts": class_shares} if is_uneven else {}),
    }
    key = sha256(json.dumps(cache_key, sort_keys=True).encode()).hexdigest()

    def sample_chunk(numbers: range) -> Chunk:
        chunk_labels = None if labels is None else labels[numbers.start : numbers.stop].tolist()
        chunk_seeds = [seeds[i] for i in numbers]
        with count_nfe(pipeline.model) as counter:
            pixels = torch.cat(list(pipeline.sample_batches(chunk_seeds, chunk_labels, batch_size)))
        n = len(chunk_seeds)
        return {"pixels": pixels, "nfe": torch.full((n,), counter.evaluations / n, dtype=torch.float64)}

    provenance = {
        "images seen": pipeline.images_seen,
        "weights": weights,
        "weights sha256": digest[:12],
        "sampler": type(sampling.sampler).__name__,
        "steps": sampling.steps,
        "guidance": sampling.guidance.scale,
        **({"guide sha256": guide_digest[:12]} if guide else {}),
        "sampling": to_dict(sampling),
        "seeds": f"{seeds.start}..{seeds.stop - 1}",
        "classes": ("as in the training set" if is_uneven else "balanced") if pipeline.class_names else "none",
        "precision": precision,
    }
    cache_dir = folder and folder / "evaluations" / key[:16]
    return GeneratedImages(name, provenance, len(seeds), sample_chunk, labels, pipeline.class_names, cache_dir)


class NfeCounter(nn.Module):
    """Counts network evaluations, one for each image; a wrapper, so that a compiled network stays compiled."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.evaluations = net, 0

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        self.evaluations += len(x)
        return self.net(x, c_noise, labels)


@contextmanager
def count_nfe(model: Denoiser) -> Iterator[NfeCounter]:
    """A context that counts the network evaluations of a denoiser."""
    net, counter = model.net, NfeCounter(model.net)
    model.net = counter
    try:
        yield counter
    finally:
        model.net = net


def from_images(images: ImageDataset, name: str) -> GeneratedImages:
    """The images of a data set, to be evaluated."""
    digest = pixels_sha256(images.pixels)
    labels = images.labels if images.class_names else None
    return GeneratedImages(
        name,
        {"source": "image files", "sha256": digest[:12]},
        len(images),
        lambda numbers: {"pixels": images.pixels[numbers.start : numbers.stop]},
        labels,
        images.class_names,
        None,
    )
