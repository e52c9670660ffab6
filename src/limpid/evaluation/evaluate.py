"""Evaluation of images: features, scores, and the report that states their protocol."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Int, UInt8
from torch import Tensor

from limpid.evaluation.generated import GeneratedImages
from limpid.evaluation.reference_set import ReferenceSet
from limpid.evaluation.report import EvalProtocol, EvalReport
from limpid.evaluation.scores import CLASS_ACCURACY, check_sample_size, class_accuracy, predicts_classes, scores_of
from limpid.metrics.extractors.base import FeatureExtractor, Features, extract_features
from limpid.metrics.moments import Moments
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.versions import version
from limpid.storage.atomic import remove_abandoned
from limpid.storage.chunk_cache import Chunk, cached_chunk, chunk_ranges, concat
from limpid.storage.hashing import CHUNK


@dataclass(frozen=True)
class ExtractedImages:
    """Images with their features."""

    pixels: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"] | None
    features: Features
    nfe: float | None = None
    """Network evaluations per image, on average; None for images from files."""


def no_progress(done: int) -> None:
    """The default progress callback, which does nothing."""


def extract(
    images: GeneratedImages, extractor: FeatureExtractor, on_progress: Callable[[int], None] = no_progress
) -> ExtractedImages:
    """The images and their features, computed in chunks, which are cached if the images have a cache folder.

    The chunks are divided among the processes. `on_progress` is called with the number of images done so far.
    """
    folder = images.cache_dir and images.cache_dir / "images"
    if folder:
        remove_abandoned(folder)

    def extract_chunk(numbers: range) -> Chunk:
        chunk = cached_chunk(folder, numbers, images.batch)
        return chunk | extract_features(extractor, chunk["pixels"])

    chunks: list[Chunk] = []
    for chunk in distributed.parallel_map(extract_chunk, chunk_ranges(images.n, CHUNK)):
        chunks.append(chunk)
        on_progress(sum(len(each["pixels"]) for each in chunks))
    joined = concat(iter(chunks))
    nfe = joined["nfe"].mean().item() if "nfe" in joined else None
    return ExtractedImages(joined["pixels"], images.labels, Features(joined["features"], joined["logits"]), nfe)


def evaluate_images(
    images: GeneratedImages,
    reference_set: ReferenceSet,
    runtime: Runtime,
    on_progress: Callable[[int], None] = no_progress,
) -> tuple[EvalReport, ExtractedImages]:
    """The report on images, and the images with their features. Raises ValueError for too few images."""
    extractor, reference = reference_set.extractor, reference_set.reference
    check_sample_size(images.n)
    start = time.perf_counter()
    extracted = extract(images, extractor, on_progress)
    scores = scores_of(extracted.features, reference, extractor)
    if images.labels is not None and predicts_classes(extractor, images.class_names):
        scores[CLASS_ACCURACY] = class_accuracy(extracted.features.logits, images.labels)
    scores = {name: replace(one, held_out=reference_set.held_out_scores.get(name)) for name, one in scores.items()}
    protocol = EvalProtocol(
        images.n, extractor.network, extractor.sha256, extractor.resize, reference.name, reference.n, reference.sha256
    )
    environment = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(time.perf_counter() - start, 1),
        "machine": str(runtime),
        "versions": {name: version(name) for name in ("limpid", "torch", "numpy", "pillow")},
    }
    notes = (*reference_set.notes(images.n), *identical_images_note(extracted.features))
    provenance = images.provenance if extracted.nfe is None else images.provenance | {"NFE": extracted.nfe}
    return EvalReport(images.name, protocol, provenance, scores, environment, notes), extracted


def identical_images_note(features: Features) -> tuple[str, ...]:
    """A note if the features of all images are the same; else empty."""
    if not Moments.of(features.features).statistics.alike:
        return ()
    return ("all images are identical: their Frechet distance is that of one point; the other scores mean little",)
