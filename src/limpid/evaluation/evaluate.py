"""Scores of pictures, from their features and those of real ones, with the protocol written beside the numbers.

Every number comes with its error and, where the data set keeps pictures apart that nobody trained on, with what those
score: no model needs to be better than real.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from limpid.data.cifar10 import CIFAR10_CLASSES
from limpid.evaluation.generated import GeneratedImages
from limpid.evaluation.reference import Reference
from limpid.evaluation.report import Better, EvalProtocol, EvalReport, Score
from limpid.metrics.accuracy import accuracy
from limpid.metrics.estimate import Estimate
from limpid.metrics.extractors import cifar_classifier, fid_presets
from limpid.metrics.extractors.base import FeatureExtractor, Features, extract_features
from limpid.metrics.frechet import frechet_estimate, frechet_infinity
from limpid.metrics.inception_score import inception_score
from limpid.metrics.kid import mmd2
from limpid.metrics.moments import Moments, blocks_of
from limpid.metrics.prdc import prdc_for
from limpid.metrics.sliced import sliced_wasserstein
from limpid.recipes.serialize import match_choice
from limpid.runtime import distributed
from limpid.runtime.device import Runtime
from limpid.runtime.rng import generator, random_subset
from limpid.runtime.versions import version
from limpid.storage.atomic import remove_abandoned
from limpid.storage.chunk_cache import Chunk, cached_chunk, chunk_ranges, concat
from limpid.storage.hashing import CHUNK

JACKKNIFE_BLOCKS = 20
"""Into which the pictures are put to see how far a Frechet distance scatters, and to extrapolate it."""
FEATURE_EXTRACTORS = ("cifar", *fid_presets.PRESETS)
"""The feature networks there are: our own, and Inception as other tools show pictures to it."""
CLASS_ACCURACY = "class accuracy"
NEIGHBOURS = (3, 5)
"""How many are customary, for precision and recall, and for density and coverage."""


@dataclass(frozen=True)
class ExtractedImages:
    """Pictures with what the judge says of them."""

    pixels: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"] | None
    features: Features
    nfe: float | None = None
    """How often the network was asked for a picture, on average; none of pictures that were there already."""


class ReferenceSet(NamedTuple):
    """The real pictures that scores are taken against."""

    extractor: FeatureExtractor
    reference: Reference
    held_out: Reference | None
    """Real pictures that nobody trained on, if some are kept apart."""
    held_out_scores: dict[str, float]
    """What those score."""
    missing_reason: str = ""
    """Why none are kept apart, if none are."""

    def notes(self, n: int) -> tuple[str, ...]:
        """What is to be said of the scores of held-out pictures beside those of n drawn ones."""
        if self.missing_reason:
            return (f"no scores of held-out real pictures: {self.missing_reason}",)
        if self.held_out and self.held_out.n < n:
            return (f"held-out real: of {self.held_out.n:,} pictures, as there are no more",)
        return ()


def feature_extractor(name: str, weights: str = "", device: str = "cpu") -> FeatureExtractor:
    """A judge by its name. Raises ValueError for a name there is not, and if its weights cannot be had."""
    name = match_choice("judge", name, FEATURE_EXTRACTORS)
    return (
        cifar_classifier.cifar_extractor(device)
        if name == "cifar"
        else fid_presets.inception_extractor(name, weights, device)
    )


def extract(
    subject: GeneratedImages, extractor: FeatureExtractor, on_progress: Callable[[int], None] = lambda done: None
) -> ExtractedImages:
    """The pictures of a subject and the judge's features of them, made piece by piece and kept where they can be.

    Several processes take turns at the pieces. `told` is called with the number of pictures done so far.
    """
    folder = subject.cache_dir and subject.cache_dir / "pictures"
    if folder:
        remove_abandoned(folder)

    def look(numbers: range) -> Chunk:
        drawn = cached_chunk(folder, numbers, subject.batch)
        return drawn | extract_features(extractor, drawn["pixels"])

    parts: list[Chunk] = []
    for part in distributed.parallel_map(look, chunk_ranges(subject.n, CHUNK)):
        parts.append(part)
        on_progress(sum(len(each["pixels"]) for each in parts))
    together = concat(iter(parts))
    nfe = together["nfe"].mean().item() if "nfe" in together else None
    return ExtractedImages(together["pixels"], subject.labels, Features(together["features"], together["logits"]), nfe)


def evaluate(
    subject: GeneratedImages, real: ReferenceSet, runtime: Runtime, told: Callable[[int], None] = lambda done: None
) -> tuple[EvalReport, ExtractedImages]:
    """The report on a subject, and its pictures as the judge saw them; `told` is told how many are done.

    Raises ValueError for too few pictures to score.
    """
    extractor, reference = real.extractor, real.reference
    check_sample_size(subject.n, reference)
    begun = time.perf_counter()
    looked = extract(subject, extractor, told)
    found = scores_of(looked.features, reference, extractor)
    if subject.labels is not None and predicts_classes(extractor, subject.names):
        found[CLASS_ACCURACY] = class_accuracy(looked.features.logits, subject.labels)
    scores = {name: replace(one, held_out=real.held_out_scores.get(name)) for name, one in found.items()}
    protocol = EvalProtocol(
        subject.n, extractor.network, extractor.sha256, extractor.resize, reference.name, reference.n, reference.sha256
    )
    made = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(time.perf_counter() - begun, 1),
        "machine": str(runtime),
        "versions": {name: version(name) for name in ("limpid", "torch", "numpy", "pillow")},
    }
    notes = (*real.notes(subject.n), *alike(looked.features))
    drawn = subject.provenance if looked.nfe is None else subject.provenance | {"evaluations": looked.nfe}
    return EvalReport(subject.name, protocol, drawn, scores, made, notes), looked


def alike(seen: Features) -> tuple[str, ...]:
    """What is to be said of pictures whose features are all the same; nothing of others."""
    if not Moments.of(seen.features).statistics.alike:
        return ()
    return ("the pictures are all alike: their Frechet distance is that of one point, and the other scores say little",)


def check_sample_size(n: int, reference: Reference) -> None:
    """Raise ValueError if n pictures are too few to score, or those of a reference to compare them with."""
    if n < 2 * JACKKNIFE_BLOCKS:
        raise ValueError(f"{n} pictures cannot be scored: expected at least {2 * JACKKNIFE_BLOCKS}")
    if reference.features is not None and reference.n <= max(NEIGHBOURS):
        expected = f"expected at least {max(NEIGHBOURS) + 1}"
        raise ValueError(f"{reference.n} pictures of {reference.name} are too few to compare with: {expected}")


def scores_of(drawn: Features, reference: Reference, extractor: FeatureExtractor) -> dict[str, Score]:
    """Every score of features against a reference, by name."""
    n, (prefix, _, judged) = len(drawn.features), extractor.distance_name.partition("-")
    suffix = f"-{judged}" if judged else ""
    blocks = blocks_of(drawn.features, JACKKNIFE_BLOCKS, eval_generator("blocks"))
    found = {extractor.distance_name: score(frechet_estimate(blocks, reference.statistics), "less")}
    if n // JACKKNIFE_BLOCKS >= 2 * drawn.features.shape[1]:
        # One draw of pictures scatters the line's end about as much as the distance itself.
        limit = frechet_infinity(blocks, reference.statistics)
        error = (found[extractor.distance_name].error ** 2 + limit.fit**2) ** 0.5
        found[f"{extractor.distance_name}, n to infinity"] = Score(limit.value, error, JACKKNIFE_BLOCKS - 1, "less")
    if reference.features is not None:
        found |= neighbour_scores(drawn, reference.features, "KID" if prefix == "FID" else f"KD{suffix}")
    found[f"IS{suffix}"] = score(inception_score(drawn.logits, eval_generator("splits")), "more")
    return found


def neighbour_scores(drawn: Features, real: Features, kernel_name: str) -> dict[str, Score]:
    """The scores that need every row of the reference; those by neighbours of as many rows as were drawn."""
    n = min(len(drawn.features), len(real.features))
    some = real.features[torch.randperm(len(real.features), generator=eval_generator("rows"))[:n]]
    ours = drawn.features[random_subset(n, len(drawn.features))]
    three, five = prdc_for(some, ours, NEIGHBOURS)
    return {
        kernel_name: score(mmd2(drawn.features, real.features), "less"),
        "precision": score(three.precision, "more"),
        "recall": score(three.recall, "more"),
        "density": score(five.density, "more"),
        "coverage": score(five.coverage, "more"),
        "sliced Wasserstein": score(sliced_wasserstein(ours, some, eval_generator("directions")), "less"),
    }


def class_accuracy(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Score:
    """How often the judge sees the class that was asked for."""
    return score(accuracy(logits, labels), "more")


def predicts_classes(extractor: FeatureExtractor, names: Sequence[str]) -> bool:
    """Whether a judge's logits stand for these classes."""
    return extractor.network == cifar_classifier.NETWORK and tuple(names) == CIFAR10_CLASSES


def held_out_scores(
    held_out: Reference | None, reference: Reference, extractor: FeatureExtractor, n: int
) -> dict[str, float]:
    """The scores of n held-out real pictures, or of all where there are fewer; empty where there are none."""
    if held_out is None or held_out.features is None or held_out.images is None:
        return {}
    some = random_subset(n, held_out.n)
    seen = Features(*(rows[some] for rows in held_out.features))
    found = {name: one.value for name, one in scores_of(seen, reference, extractor).items()}
    if predicts_classes(extractor, held_out.images.class_names):
        found[CLASS_ACCURACY] = class_accuracy(seen.logits, held_out.images.labels[some]).value
    return found


def score(estimate: Estimate, better: Better) -> Score:
    """A measured number as a score."""
    return Score(estimate.value, estimate.error, min(estimate.dof, 1e9), better, trials=estimate.trials)


def eval_generator(purpose: str) -> torch.Generator:
    """What is drawn to measure with is the same in every evaluation."""
    return generator("cpu", "evaluate", purpose)
