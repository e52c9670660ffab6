"""Scores of pictures, from their features and those of real ones, with the protocol written beside the numbers.

Every number comes with its error and, where the data set keeps pictures apart that nobody trained on, with what those
score: no model needs to be better than real.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from limpid.kept import Piece, joined, piece, stretches
from limpid.learning import parallel
from limpid.learning.machine import Machine
from limpid.learning.rng import chosen, generator
from limpid.metrics import cifar, presets
from limpid.metrics.accuracy import accuracy
from limpid.metrics.features import Judge, Seen
from limpid.metrics.frechet import infinite, scored
from limpid.metrics.inception_score import inception_score
from limpid.metrics.interval import Estimate
from limpid.metrics.kernel import discrepancy
from limpid.metrics.moments import Moments, blocks_of
from limpid.metrics.prdc import prdc_for
from limpid.metrics.sliced import sliced_wasserstein
from limpid.plain import choose
from limpid.scores import Better, Protocol, Report, Score
from limpid.subjects import PIECE, Reference, Subject, seen
from limpid.whole import remove_abandoned

BLOCKS = 20
"""Into which the pictures are put to see how far a Frechet distance scatters, and to extrapolate it."""
JUDGES = ("cifar", *presets.PRESETS)
"""The feature networks there are: our own, and Inception as other tools show pictures to it."""
CLASS_ACCURACY = "class accuracy"
NEIGHBOURS = (3, 5)
"""How many are customary, for precision and recall, and for density and coverage."""


@dataclass(frozen=True)
class Looked:
    """Pictures with what the judge says of them."""

    pixels: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"] | None
    seen: Seen
    nfe: float | None = None
    """How often the network was asked for a picture, on average; none of pictures that were there already."""


class Real(NamedTuple):
    """The real pictures that scores are taken against."""

    judge: Judge
    reference: Reference
    held_out: Reference | None
    """Real pictures that nobody trained on, if some are kept apart."""
    floors: dict[str, float]
    """What those score."""
    lacking: str = ""
    """Why none are kept apart, if none are."""

    def notes(self, n: int) -> tuple[str, ...]:
        """What is to be said of the scores of held-out pictures beside those of n drawn ones."""
        if self.lacking:
            return (f"no scores of held-out real pictures: {self.lacking}",)
        if self.held_out and self.held_out.n < n:
            return (f"held-out real: of {self.held_out.n:,} pictures, as there are no more",)
        return ()


def judge_of(name: str, weights: str = "", device: str = "cpu") -> Judge:
    """A judge by its name. Raises ValueError for a name there is not, and if its weights cannot be had."""
    name = choose("judge", name, JUDGES)
    return cifar.judge(device) if name == "cifar" else presets.judge(name, weights, device)


def looked_at(subject: Subject, judge: Judge, told: Callable[[int], None] = lambda done: None) -> Looked:
    """The pictures of a subject and the judge's features of them, made piece by piece and kept where they can be.

    Several processes take turns at the pieces. `told` is called with the number of pictures done so far.
    """
    folder = subject.store and subject.store / "pictures"
    if folder:
        remove_abandoned(folder)

    def look(numbers: range) -> Piece:
        drawn = piece(folder, numbers, subject.pictures)
        return drawn | seen(judge, drawn["pixels"])

    parts: list[Piece] = []
    for part in parallel.in_turns(look, stretches(subject.n, PIECE)):
        parts.append(part)
        told(sum(len(each["pixels"]) for each in parts))
    together = joined(iter(parts))
    nfe = together["nfe"].mean().item() if "nfe" in together else None
    return Looked(together["pixels"], subject.labels, Seen(together["features"], together["logits"]), nfe)


def evaluate(
    subject: Subject, real: Real, machine: Machine, told: Callable[[int], None] = lambda done: None
) -> tuple[Report, Looked]:
    """The report on a subject, and its pictures as the judge saw them; `told` is told how many are done.

    Raises ValueError for too few pictures to score.
    """
    judge, reference = real.judge, real.reference
    enough(subject.n, reference)
    begun = time.perf_counter()
    looked = looked_at(subject, judge, told)
    found = scores_of(looked.seen, reference, judge)
    if subject.labels is not None and knows(judge, subject.names):
        found[CLASS_ACCURACY] = asked_for(looked.seen.logits, subject.labels)
    scores = {name: replace(one, floor=real.floors.get(name)) for name, one in found.items()}
    protocol = Protocol(
        subject.n, judge.network, judge.sha256, judge.resize, reference.name, reference.n, reference.sha256
    )
    made = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(time.perf_counter() - begun, 1),
        "machine": str(machine),
        "versions": {name: version(name) for name in ("limpid", "torch", "numpy", "pillow")},
    }
    notes = (*real.notes(subject.n), *alike(looked.seen))
    drawn = subject.drawn if looked.nfe is None else subject.drawn | {"evaluations": looked.nfe}
    return Report(subject.name, protocol, drawn, scores, made, notes), looked


def alike(seen: Seen) -> tuple[str, ...]:
    """What is to be said of pictures whose features are all the same; nothing of others."""
    if not Moments.of(seen.features).statistics.alike:
        return ()
    return ("the pictures are all alike: their Frechet distance is that of one point, and the other scores say little",)


def enough(n: int, reference: Reference) -> None:
    """Raise ValueError if n pictures are too few to score, or those of a reference to compare them with."""
    if n < 2 * BLOCKS:
        raise ValueError(f"{n} pictures cannot be scored: expected at least {2 * BLOCKS}")
    if reference.seen is not None and reference.n <= max(NEIGHBOURS):
        expected = f"expected at least {max(NEIGHBOURS) + 1}"
        raise ValueError(f"{reference.n} pictures of {reference.name} are too few to compare with: {expected}")


def scores_of(drawn: Seen, reference: Reference, judge: Judge) -> dict[str, Score]:
    """Every score of features against a reference, by name."""
    n, (prefix, _, judged) = len(drawn.features), judge.score.partition("-")
    suffix = f"-{judged}" if judged else ""
    blocks = blocks_of(drawn.features, BLOCKS, draws("blocks"))
    found = {judge.score: score(scored(blocks, reference.statistics), "less")}
    if n // BLOCKS >= 2 * drawn.features.shape[1]:
        # One draw of pictures scatters the line's end about as much as the distance itself.
        limit = infinite(blocks, reference.statistics)
        error = (found[judge.score].error ** 2 + limit.fit**2) ** 0.5
        found[f"{judge.score}, n to infinity"] = Score(limit.value, error, BLOCKS - 1, "less")
    if reference.seen is not None:
        found |= by_rows(drawn, reference.seen, "KID" if prefix == "FID" else f"KD{suffix}")
    found[f"IS{suffix}"] = score(inception_score(drawn.logits, draws("splits")), "more")
    return found


def by_rows(drawn: Seen, real: Seen, kernel_name: str) -> dict[str, Score]:
    """The scores that need every row of the reference; those by neighbours of as many rows as were drawn."""
    n = min(len(drawn.features), len(real.features))
    some = real.features[torch.randperm(len(real.features), generator=draws("rows"))[:n]]
    ours = drawn.features[chosen(n, len(drawn.features))]
    three, five = prdc_for(some, ours, NEIGHBOURS)
    return {
        kernel_name: score(discrepancy(drawn.features, real.features), "less"),
        "precision": score(three.precision, "more"),
        "recall": score(three.recall, "more"),
        "density": score(five.density, "more"),
        "coverage": score(five.coverage, "more"),
        "sliced Wasserstein": score(sliced_wasserstein(ours, some, draws("directions")), "less"),
    }


def asked_for(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Score:
    """How often the judge sees the class that was asked for."""
    return score(accuracy(logits, labels), "more")


def knows(judge: Judge, names: Sequence[str]) -> bool:
    """Whether a judge's logits stand for these classes."""
    return judge.network == cifar.NETWORK and tuple(names) == cifar.NAMES


def floors_of(held_out: Reference | None, reference: Reference, judge: Judge, n: int) -> dict[str, float]:
    """The scores of n held-out real pictures, or of all where there are fewer; empty where there are none."""
    if held_out is None or held_out.seen is None or held_out.images is None:
        return {}
    some = chosen(n, held_out.n)
    seen = Seen(*(rows[some] for rows in held_out.seen))
    found = {name: one.value for name, one in scores_of(seen, reference, judge).items()}
    if knows(judge, held_out.images.names):
        found[CLASS_ACCURACY] = asked_for(seen.logits, held_out.images.labels[some]).value
    return found


def score(estimate: Estimate, better: Better) -> Score:
    """A measured number as a score."""
    return Score(estimate.value, estimate.error, min(estimate.freedom, 1e9), better)


def draws(purpose: str) -> torch.Generator:
    """What is drawn to measure with is the same in every evaluation."""
    return generator("cpu", "evaluate", purpose)
