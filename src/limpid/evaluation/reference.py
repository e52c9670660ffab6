"""The reference of an evaluation: the training set, another data set, or published statistics."""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from limpid.data import Data
from limpid.data.images import ImageDataset
from limpid.metrics import stats_file
from limpid.metrics.extractors.base import FeatureExtractor, Features, extract_features
from limpid.metrics.moments import Moments, Statistics
from limpid.storage.chunk_cache import MapChunks, cached_chunks, concat
from limpid.storage.download import cache_dir
from limpid.storage.hashing import CHUNK, pixels_sha256
from limpid.storage.regular_files import read_bytes


@dataclass(frozen=True)
class ReferenceStats:
    """Mean and covariance of features, the arrays mu and sigma of an .npz file: enough for a Frechet distance only."""

    path: str = ""
    """The .npz file."""


class Reference(NamedTuple):
    """The images that others are compared with, or their published statistics."""

    name: str
    n: int
    sha256: str
    statistics: Statistics
    features: Features | None
    images: ImageDataset | None
    """None, like `features`, if only the statistics were published."""


def reference_from_dataset(data: Data, extractor: FeatureExtractor) -> Reference:
    """All images of a data set with their features, which are cached in the user's cache folder."""
    return reference_from_images(load_all_images(data), name_of(data), extractor)


def name_of(data: Data) -> str:
    """The name of a data set in reports, with its split."""
    return f"{type(data).__name__} {getattr(data, 'split', '')}".strip()


def load_all_images(data: Data) -> ImageDataset:
    """All images of a data set in memory, read in this process."""
    source = (replace(data, workers=0) if hasattr(data, "workers") else data).open("cpu")
    if not isinstance(source, ImageDataset):
        raise ValueError(f"{name_of(data)} is streamed from disk: an evaluation needs all images in memory")
    return source


def reference_from_images(
    images: ImageDataset, name: str, extractor: FeatureExtractor, map_fn: MapChunks = map
) -> Reference:
    """Images with their features, which are cached in the user's cache folder.

    With `distributed.parallel_map` as `map_fn` the work is divided among the processes, and each gets all features.
    """
    digest = pixels_sha256(images.pixels)
    preprocessing = sha256(f"{extractor.sha256} {extractor.network} {extractor.resize}".encode()).hexdigest()
    folder = cache_dir() / "features" / f"{digest[:16]}-{preprocessing[:16]}"

    def extract_chunk(numbers: range) -> dict[str, Tensor]:
        return extract_features(extractor, images.pixels[numbers.start : numbers.stop])

    joined = concat(cached_chunks(folder, len(images), 10 * CHUNK, extract_chunk, map_fn))
    features = Features(joined["features"], joined["logits"])
    return Reference(name, len(images), digest, Moments.of(features.features).statistics, features, images)


def reference_from_stats(path: Path, extractor: FeatureExtractor) -> Reference:
    """Published statistics. Raises ValueError for a file without them, and for features of another dimension."""
    statistics = stats_file.load_stats(path)
    width = extractor.extract(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).features.shape[1]
    if len(statistics.mean) != width:
        raise ValueError(f"{path} holds statistics of {len(statistics.mean)} features: {extractor.network} has {width}")
    return Reference(
        path.name, 0, sha256(read_bytes(path, 2 * stats_file.MAX_ARRAY_BYTES)).hexdigest(), statistics, None, None
    )


def held_out(data: Data) -> Data | None:
    """The held-out split of a training set; None if it has none."""
    return replace(data, split="test") if getattr(data, "split", "") == "train" else None  # pyright: ignore[reportCallIssue]
