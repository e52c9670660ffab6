"""The view Compare: the scores of two runs side by side, and the training images that are nearest to a sample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limpid.data.images import ImageDataset
from limpid.evaluation.compare import compare, verdict
from limpid.evaluation.report import format_number
from limpid.evaluation.report_file import reports_of
from limpid.lab.edit import check_image, decode_base64
from limpid.lab.model_data import model_ref, training_images
from limpid.lab.models import find_model, find_models
from limpid.lab.noise import NoQuery, base64_of
from limpid.lab.sample import ModelQuery
from limpid.lab.workspace import Workspace
from limpid.metrics.copies import COPY_NEIGHBOURS, distance_ratio
from limpid.metrics.neighbours import nearest_images
from limpid.sampling.training_data import dataset_image

SHOWN = 8
"""Training images that are shown beside a sample."""


@dataclass(frozen=True)
class PairQuery:
    """Two models of the lab, whose scores are compared."""

    a: str
    b: str


@dataclass(frozen=True)
class NearestQuery:
    """An image, whose nearest training images of a model are sought."""

    model: ModelQuery
    pixels: str
    """The image, channels x height x width bytes as base64."""


def scored_models(workspace: Workspace, query: NoQuery) -> Any:
    """All models, and for each whether it has scores."""
    return {
        "models": [{"name": name, "scored": has_scores(model.path)} for name, model in find_models(workspace).items()]
    }


def has_scores(path: str) -> bool:
    """Whether a model was evaluated."""
    try:
        return bool(reports_of(Path(path)))
    except ValueError:
        return False


def compare_pair(workspace: Workspace, query: PairQuery) -> Any:
    """What `limpid compare A B` prints, as lines and rows of a table. Raises as `compare`."""
    comparison = compare(*(Path(find_model(workspace, name).path) for name in (query.a, query.b)))
    rows = []
    for name, apart in comparison.differences.items():
        a, b = comparison.a.scores[name], comparison.b.scores[name]
        values = [format_number(value) for value in (a.value, b.value, apart.value)]
        interval = [format_number(end) for end in apart.interval] if apart.error else []
        rows.append({"name": name, "values": values, "interval": interval, "verdict": verdict(a, apart)})
    return {"about": comparison.about, "rows": rows}


def nearest_training_images(workspace: Workspace, query: NearestQuery) -> Any:
    """The training images nearest to an image by pixels, with their mirror images if the recipe flips images.

    `ratio` is the distance to the nearest divided by the mean distance to the nearest `neighbours`: 0 is a copy. Raises
    ValueError for an image of another shape, and as `training_images`.
    """
    path, ref = model_ref(workspace, query.model.model, query.model.checkpoint)
    check_image(ref.about.image_shape, query.pixels)
    source = training_images(path, ref)
    if not isinstance(source, ImageDataset):
        raise ValueError(f"the training images of {path} are streamed from files: only images in memory are searched")
    image = torch.frombuffer(bytearray(decode_base64("pixels", query.pixels)), dtype=torch.uint8).view(source.shape)
    found = nearest_images(image, source.pixels, COPY_NEIGHBOURS, ref.about.recipe.augment.flip > 0)
    shown = []
    for index, distance, mirrored in zip(*(part[:SHOWN].tolist() for part in found), strict=True):
        pixels, name = dataset_image(index, source)
        shown.append(
            {
                "pixels": base64_of(pixels.flip(2) if mirrored else pixels),
                "name": name,
                "index": index,
                "mirrored": mirrored,
                "distance": format_number(distance),
            }
        )
    return {
        "ratio": distance_ratio(found.distances[None]).item(),
        "neighbours": len(found.indices),
        "count": len(source),
        "nearest": shown,
    }
