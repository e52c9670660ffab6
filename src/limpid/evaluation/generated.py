"""What is scored, and what it is compared with: pictures of a run, a file or a data set, or published statistics."""

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
    """Numbered pictures to be scored."""

    name: str
    provenance: dict[str, Any]
    """How they came about, in words and numbers."""
    n: int
    batch: Callable[[range], Chunk]
    """Those of these numbers: their `pixels`; of drawn ones also how often the network was asked for each, `nfe`."""
    labels: Int[Tensor, " n"] | None
    """The classes they were asked to be of, if they were."""
    names: tuple[str, ...]
    """What the classes are called."""
    cache_dir: Path | None
    """Where pictures and features may be kept, if they cost more to make again."""


def generated_by(
    pipeline: Pipeline,
    name: str,
    folder: Path,
    weights: Literal["ema", "raw"],
    seeds: range,
    batch: int,
) -> GeneratedImages:
    """The pictures that a run draws from `seeds`; where the network knows classes, in the training set's shares."""
    pipeline, shares, sampling = pipeline.with_guide(), pipeline.class_shares, pipeline.recipe.sampling
    labels = torch.tensor(labels_by_share(seeds, shares)) if pipeline.class_names else None
    uneven = len(set(shares)) > 1
    guide, precision = pipeline.guide, pipeline.runtime.precision
    digest, of_guide = weights_sha256(pipeline.model.net), weights_sha256(guide.net) if guide else ""
    about = {
        "limpid": version("limpid"),
        "weights": digest,
        "guide": of_guide,
        "sampling": to_dict(sampling),
        "seed": seeds.start,
        "precision": precision,
        **({"class counts": shares} if uneven else {}),
    }
    key = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def pictures(numbers: range) -> Chunk:
        told = None if labels is None else labels[numbers.start : numbers.stop].tolist()
        now = [seeds[i] for i in numbers]
        with count_nfe(pipeline.model) as counted:
            pixels = torch.cat(list(pipeline.sample_batches(now, told, batch)))
        return {"pixels": pixels, "nfe": torch.full((len(now),), counted.asked / len(now), dtype=torch.float64)}

    drawn = {
        "images seen": pipeline.images_seen,
        "weights": weights,
        "weights sha256": digest[:12],
        "sampler": type(sampling.sampler).__name__,
        "steps": sampling.steps,
        "guidance": sampling.guidance.scale,
        **({"guide sha256": of_guide[:12]} if guide else {}),
        "sampling": to_dict(sampling),
        "seeds": f"{seeds.start}..{seeds.stop - 1}",
        "classes": ("in the training set's shares" if uneven else "in turn") if pipeline.class_names else "none",
        "precision": precision,
    }
    return GeneratedImages(
        name, drawn, len(seeds), pictures, labels, pipeline.class_names, folder / "evaluations" / key[:16]
    )


class NfeCounter(nn.Module):
    """A network that remembers for how many pictures it was asked: around the network, so that a compiled one stays."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.asked = net, 0

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        self.asked += len(x)
        return self.net(x, c_noise, labels)


@contextmanager
def count_nfe(model: Denoiser) -> Iterator[NfeCounter]:
    """Counts how often the network of a denoiser is asked in here."""
    net, counted = model.net, NfeCounter(model.net)
    model.net = counted
    try:
        yield counted
    finally:
        model.net = net


def from_images(images: ImageDataset, name: str) -> GeneratedImages:
    """Pictures that are there already."""
    digest = pixels_sha256(images.pixels)
    labels = images.labels if images.class_names else None
    return GeneratedImages(
        name,
        {"read": "as they are", "sha256": digest[:12]},
        len(images),
        lambda numbers: {"pixels": images.pixels[numbers.start : numbers.stop]},
        labels,
        images.class_names,
        None,
    )
