"""The view Noise: an image and its noise, the levels of a schedule, and what an exact denoiser makes of both."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from limpid.data import Cifar10, Data, Digits, Folder
from limpid.data.images import ImageDataset, normalize, to_uint8
from limpid.data.readers.cifar10_files import find_cifar10
from limpid.diffusion.level import Level, add_noise
from limpid.diffusion.oracle import EmpiricalData, effective_number
from limpid.diffusion.schedules import LinearBeta, Schedule, check_levels, num_timesteps, step_betas
from limpid.lab.workspace import Workspace
from limpid.recipes.schema import schema
from limpid.recipes.serialize import match_choice, to_dict
from limpid.runtime.rng import generator
from limpid.storage.download import cache_dir

MAX_SHOWN = 2048
"""Images of a data set that are shown, and that its exact denoiser knows; of a larger set a random subset."""
MAX_POSITIONS = 1000
"""Levels of a schedule that are shown."""
THUMBNAILS = 24
_opening = Lock()


@dataclass(frozen=True)
class NoQuery:
    """A query without parameters."""


@dataclass(frozen=True)
class SourceQuery:
    """One of the data sets of the lab."""

    source: str


@dataclass(frozen=True)
class ImageQuery:
    """An image of a data set and the noise of a seed."""

    source: str
    index: int = 0
    seed: int = 0


@dataclass(frozen=True)
class LevelsQuery:
    """A schedule."""

    schedule: Schedule = LinearBeta()


@dataclass(frozen=True)
class DenoiseQuery:
    """An image, the noise of a seed, and the level at `u` of a schedule."""

    image: ImageQuery
    schedule: Schedule = LinearBeta()
    u: float = 0.5


def noise_form(workspace: Workspace, query: NoQuery) -> Any:
    """The data sets by name, the kinds of schedules, and the one to begin with."""
    names = list(sources(workspace))
    return {"sources": names, "schema": schema(Schedule), "schedule": to_dict(LinearBeta(), Schedule)}


def images(workspace: Workspace, query: SourceQuery) -> Any:
    """How many images a data set has, their shape and classes, and the first of them."""
    data = dataset_of(workspace, query.source)
    return {
        "count": len(data),
        "shape": data.shape,
        "classes": data.class_names,
        "labels": data.labels.tolist(),
        "thumbnails": base64_of(data.pixels[:THUMBNAILS]),
    }


def image(workspace: Workspace, query: ImageQuery) -> Any:
    """x0 and eps of an image, float32, from which the page makes x at any level."""
    x0, eps = image_and_noise(dataset_of(workspace, query.source), query)
    return {"x0": base64_of(x0), "eps": base64_of(eps)}


def levels(workspace: Workspace, query: LevelsQuery) -> Any:
    """The levels of a schedule from u = 0 to 1, with what follows from each; those that are not finite are left out."""
    check_levels(query.schedule)
    T = num_timesteps(query.schedule)
    u = torch.linspace(0, 1, min(T or MAX_POSITIONS, MAX_POSITIONS) + 1, dtype=torch.float64)
    level = query.schedule(u)
    finite = level.sigma.isfinite() & level.alpha.isfinite()
    u, level = u[finite], Level(level.alpha[finite], level.sigma[finite])
    return {
        "T": T,
        "u": u.tolist(),
        "alpha": level.alpha.tolist(),
        "sigma": level.sigma.tolist(),
        "alpha_bar": level.to_vp().alpha.square().tolist(),
        "logsnr": finite_or_none(level.logsnr),
        "beta": [None, *finite_or_none(step_betas(level))],
    }


def denoise(workspace: Workspace, query: DenoiseQuery) -> Any:
    """E[x0 | x] of the data set at a level, and how many images it is the mean of."""
    if not 0 <= query.u <= 1:
        raise ValueError(f"request.u is {query.u:g}: expected a number from 0 to 1")
    data = dataset_of(workspace, query.image.source)
    x0, eps = image_and_noise(data, query.image)
    level = query.schedule(torch.tensor([query.u], dtype=torch.float64))
    if not level.sigma.isfinite():
        raise ValueError(f"{query.schedule} has infinite noise at u = {query.u:g}")
    if level.sigma == 0:  # without noise nothing is left to denoise
        return {"pixels": base64_of(to_uint8(x0)), "points": 1.0}
    denoiser = exact_denoiser(workspace, query.image.source)
    posterior = denoiser.posterior(add_noise(x0[None], eps[None], level), level)
    return {
        "pixels": base64_of(to_uint8(denoiser.mean(posterior)[0])),
        "points": effective_number(posterior).item(),
    }


def image_and_noise(data: ImageDataset, query: ImageQuery) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "c h w"]]:
    """x0 in [-1, 1] and eps. Raises ValueError for an index outside the set."""
    if not 0 <= query.index < len(data):
        raise ValueError(f"no image {query.index}: the data set has {len(data):,}, numbered from 0")
    eps = torch.randn(data.shape, generator=generator("cpu", "lab", query.seed))
    return normalize(data.pixels[query.index]).contiguous(), eps


def sources(workspace: Workspace) -> Mapping[str, Data]:
    """The data sets of the lab by name: CIFAR-10 if it is on this machine, the digits, and those that were named."""
    cifar10 = {"CIFAR-10": Cifar10()} if find_cifar10(cache_dir(), "train") else {}
    return {"digits": Digits(), **cifar10, **{str(path): folder_of(path) for path in workspace.images}}


def folder_of(path: Path) -> Folder:
    """All images of a folder, .zip or .npz."""
    return Folder(root=str(path), split="all", on_error="skip")


def dataset_of(workspace: Workspace, name: str) -> ImageDataset:
    """A data set of the lab. Raises ValueError for a name that is none, and for images that cannot be read."""
    known = sources(workspace)
    with _opening:
        return _open(known[match_choice("data set", name, known)])


@lru_cache(maxsize=4)
def _open(data: Data) -> ImageDataset:
    found = data.open("cpu")
    assert isinstance(found, ImageDataset)  # sets on the CPU without workers are in memory
    return found.subset(MAX_SHOWN)


@lru_cache(maxsize=2)
def exact_denoiser(workspace: Workspace, source: str) -> EmpiricalData:
    """The denoiser of a data set that knows nothing but its images."""
    return EmpiricalData(normalize(dataset_of(workspace, source).pixels).contiguous())


def base64_of(tensor: Tensor) -> str:
    """The values of a tensor as base64, in reading order."""
    return base64.b64encode(tensor.contiguous().numpy().tobytes()).decode()


def finite_or_none(values: Tensor) -> list[float | None]:
    """The values, None where one is not finite: JSON has no infinity."""
    return [value if abs(value) != torch.inf and value == value else None for value in values.tolist()]
