"""What pictures are judged against: real ones as the judge sees them, and those held out, or why there are none.

Of several processes all come to the same: what one of them cannot read, none has.
"""

from dataclasses import dataclass
from pathlib import Path

from limpid.asked import Known
from limpid.data import Data
from limpid.data.images import Images
from limpid.evaluate import BLOCKS, Real, floors_of, judge_of
from limpid.learning import parallel
from limpid.learning.machine import Machine
from limpid.metrics.features import Judge
from limpid.provenance import data_of_run
from limpid.sample import About, Trained
from limpid.subjects import (
    Against,
    Own,
    Published,
    Reference,
    held_out,
    images_of,
    name_of,
    of_data,
    of_pictures,
    of_published,
)


@dataclass(frozen=True)
class Judged:
    """How pictures are judged, wherever they are from."""

    against: Against = Own()
    """What they are compared with."""
    n: int = 10_000
    """How many pictures to score; scores of different numbers do not compare."""
    judge: str = "cifar"
    """The feature network: cifar, limpid's own, which gives FD-CIFAR; or Inception by the rules of torch-fidelity, edm,
    pytorch-fid, clean-fid, clean-fid-legacy-tensorflow, clean-fid-legacy-pytorch or torchmetrics, which gives FID."""
    inception: str = ""
    """Where the published weights of Inception are; looked for, or downloaded, if not given."""
    out: Path = Path("scores.json")
    """The file that keeps the scores."""
    statistics: str = ""
    """Also write the mean and covariance of the features, mu and sigma, to this .npz."""


def real_for(judged: Judged, own: Data | str, machine: Machine) -> Real:
    """The real pictures that `judged` asks for, seen by its judge; `own` are those of the run, or why it has none.

    Raises ValueError if they cannot be had.
    """
    judge = parallel.one_before(lambda: judge_of(judged.judge, judged.inception, machine.device))
    if isinstance(judged.against, Published):
        return Real(
            judge, of_published(Path(judged.against.path), judge), None, {}, "it is compared with statistics alone"
        )
    data = own if isinstance(judged.against, Own) else judged.against
    if isinstance(data, str):
        raise ValueError(data)
    reference, apart = of_data(data, judge, parallel.in_turns), apart_of(data, judge)
    if isinstance(apart, str):
        return Real(judge, reference, None, {}, apart)
    return Real(judge, reference, apart, floors_of(apart, reference, judge, judged.n))


def known_for(judged: Judged, own: Data | str, real: Real) -> Known | str:
    """The run's own training pictures, and those held out from it, seen by the judge; or why they cannot be had.

    No others tell what a run has learnt by heart: of pictures that it never saw it has no copies.
    """
    if isinstance(judged.against, Published):
        return real.lacking
    if isinstance(judged.against, Own) or judged.against == own:
        return Known(real.reference, real.held_out, real.lacking)
    images = own if isinstance(own, str) else images_or_why(own)
    if isinstance(images, str) or isinstance(own, str):
        return str(images)
    if len(images) < 2:
        return f"{name_of(own)} holds one picture alone"
    training = of_pictures(images, name_of(own), real.judge, parallel.in_turns)
    apart = apart_of(own, real.judge)
    return Known(training, None, apart) if isinstance(apart, str) else Known(training, apart)


def with_data(trained: Trained, own: Data | str) -> Trained:
    """The network with its training set where it is now, and with its class counts if its checkpoint does not say."""
    if isinstance(own, str):
        return trained
    trained = trained.on(own)
    if not trained.names or trained.class_counts:
        return trained
    images = images_or_why(own)
    if isinstance(images, str) or images.names != trained.names:
        return trained
    return trained._replace(class_counts=images.class_counts)


def data_or_why(about: About, root: str, run: Path) -> Data | str:
    """The data of a run, as `data_of_run` finds it, or why it cannot be had: by all processes alike."""
    try:
        found = data_of_run(about, root, run)
    except ValueError as error:
        found = str(error)
    if parallel.any_of(isinstance(found, str)):
        return found if isinstance(found, str) else "another process cannot have it"
    return found


def apart_of(data: Data, judge: Judge) -> Reference | str:
    """The pictures of a data set that are held out from training, seen by the judge; or why there are none to go by."""
    test = held_out(data)
    if test is None:
        return f"{name_of(data)} keeps none apart"
    images = images_or_why(test)
    if isinstance(images, str):
        return images
    if len(images) < BLOCKS:
        return f"{len(images)} pictures of {name_of(test)} are too few: expected at least {BLOCKS}"
    return of_pictures(images, name_of(test), judge, parallel.in_turns)


def images_or_why(data: Data) -> Images | str:
    """All pictures of a data set, or why they cannot be had: by all processes alike."""
    try:
        found = images_of(data)
    except ValueError as error:
        found = str(error)
    if parallel.any_of(isinstance(found, str)):
        return found if isinstance(found, str) else "another process cannot have them"
    return found
