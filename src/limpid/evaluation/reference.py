"""What generated images are compared with: the training set, another data set, or published statistics."""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from limpid.data import Cifar10, Data, Digits, Folder
from limpid.data.images import ImageDataset
from limpid.metrics import stats_file
from limpid.metrics.extractors.base import FeatureExtractor, Features, extract_features
from limpid.metrics.moments import Moments, Statistics
from limpid.storage.chunk_cache import MapChunks, cached_chunks, concat
from limpid.storage.download import cache_dir
from limpid.storage.hashing import CHUNK, pixels_sha256
from limpid.storage.regular_files import read_bytes


@dataclass(frozen=True)
class TrainingData:
    """The training pictures of the run that is scored."""


@dataclass(frozen=True)
class ReferenceStats:
    """Mean and covariance of features, the arrays mu and sigma of an .npz file: enough for a Frechet distance alone."""

    path: str = ""
    """The file."""


ReferenceChoice: TypeAlias = TrainingData | Cifar10 | Digits | Folder | ReferenceStats


class Reference(NamedTuple):
    """What pictures are compared with, as a judge sees it."""

    name: str
    n: int
    sha256: str
    statistics: Statistics
    features: Features | None
    images: ImageDataset | None
    """None where only statistics were published."""


def reference_from_dataset(data: Data, extractor: FeatureExtractor, each: MapChunks = map) -> Reference:
    """All pictures of a data set, as the judge sees them; its features are kept in the user's cache.

    With `parallel.in_turns` for `each` the processes share the pictures out; all have the features of all.
    """
    return reference_from_images(load_all_images(data), name_of(data), extractor, each)


def name_of(data: Data) -> str:
    """What a data set is called, with its split."""
    return f"{type(data).__name__} {getattr(data, 'split', '')}".strip()


def load_all_images(data: Data) -> ImageDataset:
    """All pictures of a data set at once, read in this process."""
    source = (replace(data, workers=0) if hasattr(data, "workers") else data).open("cpu")
    assert isinstance(source, ImageDataset)
    return source


def reference_from_images(
    images: ImageDataset, name: str, extractor: FeatureExtractor, each: MapChunks = map
) -> Reference:
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
    statistics = stats_file.load_stats(path)
    width = extractor.extract(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).features.shape[1]
    if len(statistics.mean) != width:
        raise ValueError(f"{path} holds statistics of {len(statistics.mean)} features: {extractor.network} has {width}")
    return Reference(
        path.name, 0, sha256(read_bytes(path, 2 * stats_file.MAX_ARRAY_BYTES)).hexdigest(), statistics, None, None
    )


def held_out(data: Data) -> Data | None:
    """The same data set's pictures that no one trained on, if it keeps some apart."""
    return replace(data, split="test") if getattr(data, "split", "") == "train" else None  # pyright: ignore[reportCallIssue]
