"""What is scored, and what it is compared with: pictures of a run, a file or a data set, or published statistics."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from limpid.data import Cifar10, Data, Digits, Folder
from limpid.data.images import ImageDataset
from limpid.diffusion.denoiser import Denoiser
from limpid.download import cache_dir
from limpid.kept import Chunk, MapFn, cached_chunks, concat
from limpid.learning.machine import Runtime
from limpid.metrics import saved
from limpid.metrics.features import FeatureExtractor, Features
from limpid.metrics.moments import Moments, Statistics
from limpid.plain import to_dict
from limpid.recipe import Sampling
from limpid.regular import read_bytes
from limpid.sample import Pipeline, class_shares, labels_by_share, load_guide, sample

CHUNK = 500
"""Pictures that are drawn, looked at and kept at a time."""


@dataclass(frozen=True)
class TrainingData:
    """The training pictures of the run that is scored."""


@dataclass(frozen=True)
class ReferenceStats:
    """Mean and covariance of features, the arrays mu and sigma of an .npz file: enough for a Frechet distance alone."""

    path: str = ""
    """The file."""


ReferenceChoice: TypeAlias = TrainingData | Cifar10 | Digits | Folder | ReferenceStats


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


class Reference(NamedTuple):
    """What pictures are compared with, as a judge sees it."""

    name: str
    n: int
    sha256: str
    statistics: Statistics
    features: Features | None
    images: ImageDataset | None
    """None where only statistics were published."""


def generated_by(
    pipeline: Pipeline,
    name: str,
    folder: Path,
    sampling: Sampling,
    weights: Literal["ema", "raw"],
    seeds: range,
    runtime: Runtime,
    batch: int,
    guide: Pipeline | None = None,
) -> GeneratedImages:
    """The pictures that a run draws from `seeds`; where the network knows classes, in the training set's shares."""
    recipe, shares = replace(pipeline.recipe, sampling=sampling), class_shares(pipeline)
    labels = torch.tensor(labels_by_share(seeds, shares)) if pipeline.class_names else None
    uneven = len(set(shares)) > 1
    guide = guide or load_guide(sampling, runtime)
    digest, of_guide = weights_sha256(pipeline.model.net), weights_sha256(guide.model.net) if guide else ""
    about = {
        "limpid": version("limpid"),
        "weights": digest,
        "guide": of_guide,
        "sampling": to_dict(sampling),
        "seed": seeds.start,
        "precision": runtime.precision,
        **({"class counts": shares} if uneven else {}),
    }
    key = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def pictures(numbers: range) -> Chunk:
        told = None if labels is None else labels[numbers.start : numbers.stop].tolist()
        now = [seeds[i] for i in numbers]
        with count_nfe(pipeline.model) as counted:
            pixels = torch.cat(
                list(sample(pipeline.model, recipe, now, pipeline.image_shape, runtime, told, batch, guide=guide))
            )
        return {"pixels": pixels, "nfe": torch.full((len(now),), counted.asked / len(now), dtype=torch.float64)}

    drawn = {
        "images seen": pipeline.images_seen,
        "weights": weights,
        "weights sha256": digest[:12],
        "sampler": type(sampling.sampler).__name__,
        "steps": sampling.steps,
        "guidance": sampling.guidance.weight,
        **({"guide sha256": of_guide[:12]} if guide else {}),
        "sampling": to_dict(sampling),
        "seeds": f"{seeds.start}..{seeds.stop - 1}",
        "classes": ("in the training set's shares" if uneven else "in turn") if pipeline.class_names else "none",
        "precision": runtime.precision,
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


def reference_from_dataset(data: Data, extractor: FeatureExtractor, each: MapFn = map) -> Reference:
    """All pictures of a data set, as the judge sees them; its features are kept in the user's cache.

    With `parallel.in_turns` for `each` the processes share the pictures out; all have the features of all.
    """
    return reference_from_images(load_all_images(data), name_of(data), extractor, each)


def name_of(data: Data) -> str:
    """What a data set is called, with its split."""
    return f"{type(data).__name__} {getattr(data, 'split', '')}".strip()


def load_all_images(data: Data) -> ImageDataset:
    """All pictures of a data set at once, read in this process."""
    source = (data if isinstance(data, Digits) else replace(data, workers=0)).open("cpu")
    assert isinstance(source, ImageDataset)
    return source


def reference_from_images(images: ImageDataset, name: str, extractor: FeatureExtractor, each: MapFn = map) -> Reference:
    """These pictures as the judge sees them."""
    digest = pixels_sha256(images.pixels)
    rule = sha256(f"{extractor.sha256} {extractor.network} {extractor.resize}".encode()).hexdigest()
    store = cache_dir() / "features" / f"{digest[:16]}-{rule[:16]}"

    def look(numbers: range) -> dict[str, Tensor]:
        return extract_features(extractor, images.pixels[numbers.start : numbers.stop])

    found = concat(cached_chunks(store, len(images), 10 * CHUNK, look, each))
    features = Features(found["features"], found["logits"])
    return Reference(name, len(images), digest, Moments.of(features.features).statistics, features, images)


def reference_from_stats(path: Path, extractor: FeatureExtractor) -> Reference:
    """Published statistics. Raises ValueError if they are none, or of another network's features."""
    statistics = saved.load_stats(path)
    width = extractor.extract(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).features.shape[1]
    if len(statistics.mean) != width:
        raise ValueError(f"{path} holds statistics of {len(statistics.mean)} features: {extractor.network} has {width}")
    return Reference(path.name, 0, sha256(read_bytes(path, 2 * saved.LONGEST)).hexdigest(), statistics, None, None)


def held_out(data: Data) -> Data | None:
    """The same data set's pictures that no one trained on, if it keeps some apart."""
    return replace(data, split="test") if getattr(data, "split", "") == "train" else None  # pyright: ignore[reportCallIssue]


def extract_features(
    extractor: FeatureExtractor, pixels: UInt8[Tensor, "n c h w"], batch: int = 64
) -> dict[str, Tensor]:
    """What the judge says of pictures, a batch at a time; in the host's memory, on whatever device it looks."""
    said = [extractor.extract(part) for part in pixels.split(batch)]
    features, logits = (torch.cat(parts).cpu() for parts in zip(*said, strict=True))
    return {"features": features, "logits": logits}


def weights_sha256(net: nn.Module) -> str:
    """The sha256 of all weights of a network."""
    digest = sha256()
    for value in net.state_dict().values():
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def pixels_sha256(pixels: UInt8[Tensor, "n c h w"]) -> str:
    """The sha256 of pictures: of their shape, and of their pixels one after the other."""
    digest = sha256(str(tuple(pixels.shape)).encode())
    for part in pixels.split(10_000):
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
