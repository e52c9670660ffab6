"""What only a run can be asked: does it copy, does it know its training pictures better, do its pictures teach?"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from limpid.classifying import BATCH, classification_score
from limpid.copying import SHARE, Copying, copying
from limpid.data.augment import Augment
from limpid.data.images import Images
from limpid.density import Protocol, density, opened
from limpid.evaluate import Looked, draws, score
from limpid.gap import gap
from limpid.learning.machine import Machine
from limpid.metrics.cifar import fitted
from limpid.metrics.interval import Estimate
from limpid.sample import Trained, check_class_names
from limpid.scores import Score
from limpid.subjects import Reference


@dataclass(frozen=True)
class Questions:
    """What a run is asked besides scores of features."""

    known: int = 256
    """Of how many training and held-out pictures to measure the loss; 0 for none."""
    bits: int = 0
    """Of how many held-out pictures to measure the bits per dimension; 0 for none."""
    teach: bool = False
    """Train a classifier on the drawn pictures, one on as many real ones, and test both on held-out ones (minutes)."""


class Known(NamedTuple):
    """The pictures that a run was trained on and those held out from it, whatever its own are compared with."""

    training: Reference
    held_out: Reference | None
    lacking: str = ""
    """Why none are held out, if none are."""


def check(questions: Questions, trained: Trained, known: Known | None, n: int, machine: Machine) -> None:
    """Raise ValueError for what this run cannot be asked after drawing n pictures, before it draws them."""
    if questions.known < 0 or questions.known == 1:
        raise ValueError(f"--known {questions.known}: expected 0 for none, or at least 2 pictures")
    if trained.names and known:
        check_class_names(trained.names, images_of(known.training).names, "this network")
    if questions.bits:
        opened(trained.recipe.data, Protocol(n=questions.bits), machine)
    if questions.teach:
        if not (trained.names and known and known.held_out):
            why = f" ({known.lacking})" if known and known.lacking else ""
            raise ValueError(f"--teach needs a run that knows classes, and real pictures that are held out{why}")
        if min(n, known.training.n) < BATCH:
            given = f"{n} drawn and {known.training.n} training pictures"
            raise ValueError(f"--teach with {given}: expected at least {BATCH} of each")


def asked(
    looked: Looked, trained: Trained, known: Known | None, questions: Questions, folder: Path, machine: Machine
) -> tuple[dict[str, Score], list[Path]]:
    """The answers as scores, and the pictures they were written to in `folder`.

    Without the run's own pictures it is asked of none that it may have learnt by heart; without some that are held out
    copies are shown, but not counted. Raises ValueError for questions that this run has no answer to.
    """
    check(questions, trained, known, len(looked.pixels), machine)
    found: dict[str, Score] = {}
    written: list[Path] = []
    if known:
        training, apart = images_of(known.training), images_of(known.held_out) if known.held_out else None
        shown = as_shown(training, trained.recipe.augment)
        for space, compared in copies(looked, known, shown).items():
            if compared.rate:
                found[f"copies by {space}"] = replace(score(compared.rate, "less"), floor=SHARE)
            written.append(compared.picture(looked.pixels, shown, folder / f"copies-by-{space}.png"))
        if questions.known and apart:
            losses = gap(trained, training, apart, questions.known, machine)
            found["held-out loss - training loss"] = score(losses.size, "less")
            written.append(losses.picture(folder / "loss-by-level.png"))
        if questions.teach and apart:
            found["accuracy after training on them"] = taught(looked, training, apart, machine)
    if questions.bits:
        measured = density(trained, Protocol(n=questions.bits), machine)
        found["bits/dim"] = score(Estimate(measured.mean, measured.error, questions.bits - 1), "less")
    return found, written


def images_of(reference: Reference) -> Images:
    """The pictures of a reference that is not published statistics alone."""
    assert reference.images is not None
    return reference.images


def features_of(reference: Reference) -> Float[Tensor, "n d"]:
    """The features of those pictures."""
    assert reference.seen is not None
    return reference.seen.features


def as_shown(training: Images, augment: Augment) -> UInt8[Tensor, "n c h w"]:
    """The training pictures, and after them all of them mirrored if the run was shown those too."""
    return torch.cat([training.pixels, training.pixels.flip(3)]) if augment.flip else training.pixels


def copies(looked: Looked, known: Known, shown: UInt8[Tensor, "n c h w"]) -> dict[str, Copying]:
    """How near the pictures are to training pictures, in features and in pixels."""
    training, apart = known.training, known.held_out
    pixels = images_of(apart).pixels.flatten(1) if apart else None
    return {
        "features": copying(looked.seen.features, features_of(apart) if apart else None, features_of(training)),
        "pixels": copying(looked.pixels.flatten(1), pixels, shown.flatten(1)),
    }


def taught(looked: Looked, training: Images, apart: Images, machine: Machine) -> Score:
    """The classification accuracy score, and that of as many real training pictures in the place of held-out ones."""
    assert looked.labels is not None
    chosen = torch.randperm(len(training), generator=draws("teach"))[: len(looked.pixels)]
    test, ours, theirs = (
        Images(fitted(pixels), labels)
        for pixels, labels in (
            (apart.pixels, apart.labels),
            (looked.pixels, looked.labels),
            (training.pixels[chosen], training.labels[chosen]),
        )
    )
    floor = classification_score(theirs, test, machine).value
    return replace(score(classification_score(ours, test, machine), "more"), floor=floor)
