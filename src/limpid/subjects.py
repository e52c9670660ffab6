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
from limpid.data.images import Images
from limpid.diffusion.denoiser import Denoiser
from limpid.download import home
from limpid.kept import Each, Piece, joined, pieces
from limpid.learning.machine import Machine
from limpid.metrics import saved
from limpid.metrics.features import Judge, Seen
from limpid.metrics.moments import Moments, Statistics
from limpid.plain import to_plain
from limpid.recipe import Sampling
from limpid.regular import read_bytes
from limpid.sample import Trained, class_shares, labels_by_share, load_guide, sample

PIECE = 500
"""Pictures that are drawn, looked at and kept at a time."""


@dataclass(frozen=True)
class Own:
    """The training pictures of the run that is scored."""


@dataclass(frozen=True)
class Published:
    """Mean and covariance of features, the arrays mu and sigma of an .npz file: enough for a Frechet distance alone."""

    path: str = ""
    """The file."""


Against: TypeAlias = Own | Cifar10 | Digits | Folder | Published


class Subject(NamedTuple):
    """Numbered pictures to be scored."""

    name: str
    drawn: dict[str, Any]
    """How they came about, in words and numbers."""
    n: int
    pictures: Callable[[range], Piece]
    """Those of these numbers: their `pixels`; of drawn ones also how often the network was asked for each, `nfe`."""
    labels: Int[Tensor, " n"] | None
    """The classes they were asked to be of, if they were."""
    names: tuple[str, ...]
    """What the classes are called."""
    store: Path | None
    """Where pictures and features may be kept, if they cost more to make again."""


class Reference(NamedTuple):
    """What pictures are compared with, as a judge sees it."""

    name: str
    n: int
    sha256: str
    statistics: Statistics
    seen: Seen | None
    images: Images | None
    """None where only statistics were published."""


def of_run(
    trained: Trained,
    name: str,
    folder: Path,
    sampling: Sampling,
    weights: Literal["average", "model"],
    seeds: range,
    machine: Machine,
    batch: int,
    guide: Trained | None = None,
) -> Subject:
    """The pictures that a run draws from `seeds`; where the network knows classes, in the training set's shares."""
    recipe, shares = replace(trained.recipe, sampling=sampling), class_shares(trained)
    labels = torch.tensor(labels_by_share(seeds, shares)) if trained.names else None
    uneven = len(set(shares)) > 1
    guide = guide or load_guide(sampling, machine)
    digest, of_guide = of_weights(trained.model.net), of_weights(guide.model.net) if guide else ""
    about = {
        "limpid": version("limpid"),
        "weights": digest,
        "guide": of_guide,
        "sampling": to_plain(sampling),
        "seed": seeds.start,
        "precision": machine.precision,
        **({"class counts": shares} if uneven else {}),
    }
    key = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def pictures(numbers: range) -> Piece:
        told = None if labels is None else labels[numbers.start : numbers.stop].tolist()
        now = [seeds[i] for i in numbers]
        with counting(trained.model) as counted:
            pixels = torch.cat(
                list(sample(trained.model, recipe, now, trained.shape, machine, told, batch, guide=guide))
            )
        return {"pixels": pixels, "nfe": torch.full((len(now),), counted.asked / len(now), dtype=torch.float64)}

    drawn = {
        "images seen": trained.seen,
        "weights": weights,
        "weights sha256": digest[:12],
        "sampler": type(sampling.sampler).__name__,
        "steps": sampling.steps,
        "guidance": sampling.guidance.weight,
        **({"guide sha256": of_guide[:12]} if guide else {}),
        "sampling": to_plain(sampling),
        "seeds": f"{seeds.start}..{seeds.stop - 1}",
        "classes": ("in the training set's shares" if uneven else "in turn") if trained.names else "none",
        "precision": machine.precision,
    }
    return Subject(name, drawn, len(seeds), pictures, labels, trained.names, folder / "evaluations" / key[:16])


class Counting(nn.Module):
    """A network that remembers for how many pictures it was asked: around the network, so that a compiled one stays."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.asked = net, 0

    def forward(self, x: Tensor, c_noise: Tensor, labels: Tensor | None) -> Tensor:
        self.asked += len(x)
        return self.net(x, c_noise, labels)


@contextmanager
def counting(model: Denoiser) -> Iterator[Counting]:
    """Counts how often the network of a denoiser is asked in here."""
    net, counted = model.net, Counting(model.net)
    model.net = counted
    try:
        yield counted
    finally:
        model.net = net


def of_images(images: Images, name: str) -> Subject:
    """Pictures that are there already."""
    digest = of_pixels(images.pixels)
    labels = images.labels if images.names else None
    return Subject(
        name,
        {"read": "as they are", "sha256": digest[:12]},
        len(images),
        lambda numbers: {"pixels": images.pixels[numbers.start : numbers.stop]},
        labels,
        images.names,
        None,
    )


def of_data(data: Data, judge: Judge, each: Each = map) -> Reference:
    """All pictures of a data set, as the judge sees them; its features are kept in the user's cache.

    With `parallel.in_turns` for `each` the processes share the pictures out; all have the features of all.
    """
    return of_pictures(images_of(data), name_of(data), judge, each)


def name_of(data: Data) -> str:
    """What a data set is called, with its split."""
    return f"{type(data).__name__} {getattr(data, 'split', '')}".strip()


def images_of(data: Data) -> Images:
    """All pictures of a data set at once, read in this process."""
    source = (data if isinstance(data, Digits) else replace(data, workers=0)).open("cpu")
    assert isinstance(source, Images)
    return source


def of_pictures(images: Images, name: str, judge: Judge, each: Each = map) -> Reference:
    """These pictures as the judge sees them."""
    digest = of_pixels(images.pixels)
    rule = sha256(f"{judge.sha256} {judge.network} {judge.resize}".encode()).hexdigest()
    store = home() / "features" / f"{digest[:16]}-{rule[:16]}"

    def look(numbers: range) -> dict[str, Tensor]:
        return seen(judge, images.pixels[numbers.start : numbers.stop])

    found = joined(pieces(store, len(images), 10 * PIECE, look, each))
    features = Seen(found["features"], found["logits"])
    return Reference(name, len(images), digest, Moments.of(features.features).statistics, features, images)


def of_published(path: Path, judge: Judge) -> Reference:
    """Published statistics. Raises ValueError if they are none, or of another network's features."""
    statistics = saved.read(path)
    width = judge.look(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).features.shape[1]
    if len(statistics.mean) != width:
        raise ValueError(f"{path} holds statistics of {len(statistics.mean)} features: {judge.network} has {width}")
    return Reference(path.name, 0, sha256(read_bytes(path, 2 * saved.LONGEST)).hexdigest(), statistics, None, None)


def held_out(data: Data) -> Data | None:
    """The same data set's pictures that no one trained on, if it keeps some apart."""
    return replace(data, split="test") if getattr(data, "split", "") == "train" else None  # pyright: ignore[reportCallIssue]


def seen(judge: Judge, pixels: UInt8[Tensor, "n c h w"], batch: int = 64) -> dict[str, Tensor]:
    """What the judge says of pictures, a batch at a time; in the host's memory, on whatever device it looks."""
    said = [judge.look(part) for part in pixels.split(batch)]
    features, logits = (torch.cat(parts).cpu() for parts in zip(*said, strict=True))
    return {"features": features, "logits": logits}


def of_weights(net: nn.Module) -> str:
    """The sha256 of all weights of a network."""
    digest = sha256()
    for value in net.state_dict().values():
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def of_pixels(pixels: UInt8[Tensor, "n c h w"]) -> str:
    """The sha256 of pictures: of their shape, and of their pixels one after the other."""
    digest = sha256(str(tuple(pixels.shape)).encode())
    for part in pixels.split(10_000):
        digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
