"""What only a run can be asked: does it copy, does it know its training pictures better, do its pictures teach?"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.classifying import classification_score
from limpid.copying import SHARE, Copying, copying
from limpid.data.augment import Augment
from limpid.data.images import Images
from limpid.density import Protocol, density
from limpid.evaluate import Looked, Real, draws, score
from limpid.gap import gap
from limpid.learning.machine import Machine
from limpid.metrics.cifar import fitted
from limpid.metrics.interval import Estimate
from limpid.sample import Trained
from limpid.scores import Score


@dataclass(frozen=True)
class Questions:
    """What a run is asked besides scores of features."""

    known: int = 256
    """Of how many training and held-out pictures to measure the loss; 0 for none."""
    bits: int = 0
    """Of how many held-out pictures to measure the bits per dimension; 0 for none."""
    teach: bool = False
    """Train a classifier on the drawn pictures, one on as many real ones, and test both on held-out ones (minutes)."""


def asked(
    looked: Looked, trained: Trained, real: Real, questions: Questions, folder: Path, machine: Machine
) -> tuple[dict[str, Score], list[Path]]:
    """The answers as scores, and the pictures they were written to in `folder`.

    Raises ValueError for questions that this run has no answer to.
    """
    found: dict[str, Score] = {}
    written: list[Path] = []
    training, apart = real.reference.images, real.held_out and real.held_out.images
    if training is not None and apart is not None:
        shown = as_shown(training, trained.recipe.augment)
        for space, compared in copies(looked, real, shown).items():
            found[f"copies by {space}"] = replace(score(compared.rate, "less"), floor=SHARE)
            if looked.pixels.shape[1:] == shown.shape[1:]:
                written.append(compared.picture(looked.pixels, shown, folder / f"copies-by-{space}.png"))
        if questions.known and trained.shape == training.shape:
            known = gap(trained, training, apart, questions.known, machine)
            found["held-out loss - training loss"] = score(known.size, "less")
            written.append(known.picture(folder / "loss-by-level.png"))
    if questions.bits:
        measured = density(trained, Protocol(n=questions.bits), machine)
        found["bits/dim"] = score(Estimate(measured.mean, measured.error, questions.bits - 1), "less")
    if questions.teach:
        found["accuracy after training on them"] = taught(looked, real, machine)
    return found, written


def as_shown(training: Images, augment: Augment) -> UInt8[Tensor, "n c h w"]:
    """The training pictures, and after them all of them mirrored if the run was shown those too."""
    return torch.cat([training.pixels, training.pixels.flip(3)]) if augment.flip else training.pixels


def copies(looked: Looked, real: Real, shown: UInt8[Tensor, "n c h w"]) -> dict[str, Copying]:
    """How near the pictures are to training pictures, in features and, where they are of one size, in pixels."""
    training, apart = real.reference, real.held_out
    assert apart is not None
    assert training.seen is not None
    assert apart.seen is not None
    assert apart.images is not None
    found = {"features": copying(looked.seen.features, apart.seen.features, training.seen.features)}
    if looked.pixels.shape[1:] == shown.shape[1:]:
        flat = (pixels.flatten(1) for pixels in (looked.pixels, apart.images.pixels, shown))
        found["pixels"] = copying(*flat)
    return found


def taught(looked: Looked, real: Real, machine: Machine) -> Score:
    """The classification accuracy score, and that of as many real training pictures in the place of held-out ones.

    Raises ValueError if the pictures have no classes, or none are held out to test with.
    """
    training, apart = real.reference.images, real.held_out and real.held_out.images
    if looked.labels is None or training is None or apart is None:
        raise ValueError("--teach needs a run that knows classes, and real pictures that are held out")
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
