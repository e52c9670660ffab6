"""The view Edit: the images that may be edited, and from a query to the job that edits one."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from limpid.data.readers.scan import image_from_bytes
from limpid.diffusion.samplers import Heun, Sampler
from limpid.lab.model_data import model_ref, training_images
from limpid.lab.models import find_models
from limpid.lab.noise import THUMBNAILS, NoQuery, base64_of
from limpid.lab.sample import ModelQuery
from limpid.lab.workspace import Workspace
from limpid.recipes.schema import schema
from limpid.recipes.serialize import ABBREVIATE, to_dict
from limpid.sampling.labels import UNCONDITIONAL, label_indices
from limpid.sampling.same_edits import EditCall, EditSettings
from limpid.sampling.sample import ImageShape
from limpid.sampling.training_data import dataset_image

LIMITS = {"n": 64, "steps": 1000, "resample": 20}
"""The most variations, steps and repetitions of a step of one job; of each at least one is expected."""
EDITABLE = (1, 3, 4)
"""Numbers of channels that a PNG holds, as which the image of an edit can be downloaded."""


@dataclass(frozen=True)
class TrainingImageQuery:
    """An image of the data set on which a model was trained."""

    model: ModelQuery
    index: int


@dataclass(frozen=True)
class FileQuery:
    """An image file, to be fitted to a model."""

    model: ModelQuery
    content: str
    """Its bytes, as base64."""


@dataclass(frozen=True)
class EditQuery:
    """An edit of an image, or an interpolation between two seeds."""

    model: ModelQuery
    settings: EditSettings
    pixels: str = ""
    """The image, channels x height x width bytes as base64; not used between seeds."""
    mask: str = ""
    """What `inpaint` generates anew: height x width bytes as base64, not 0 there."""
    index: int = -1
    """The index of the image in the training data; -1 for one that is from elsewhere."""


def edit_form(workspace: Workspace, query: NoQuery) -> Any:
    """The models with their checkpoints, and the kinds of samplers with the one to begin with."""
    models = [{"name": model.name, "checkpoints": model.checkpoints} for model in find_models(workspace).values()]
    return {"models": models, "schema": schema(Sampler), "sampler": to_dict(Heun(), Sampler)}


def first_training_images(workspace: Workspace, query: ModelQuery) -> Any:
    """How many images a model was trained on, and the first of them. Raises as `training_images`."""
    source = training_images(*model_ref(workspace, query.model, query.checkpoint))
    images = [dataset_image(i, source) for i in range(min(THUMBNAILS, len(source)))]
    return {
        "count": len(source),
        "names": [name for _, name in images],
        "pixels": [base64_of(one) for one, _ in images],
    }


def training_image(workspace: Workspace, query: TrainingImageQuery) -> Any:
    """An image of the training data, and the name of its class. Raises ValueError for an index outside."""
    source = training_images(*model_ref(workspace, query.model.model, query.model.checkpoint))
    if query.index < 0:
        raise ValueError(f"no image {query.index}: the data set has {len(source):,}, numbered from 0")
    pixels, name = dataset_image(query.index, source)
    return {"pixels": base64_of(pixels), "name": name}


def file_image(workspace: Workspace, query: FileQuery) -> Any:
    """An image file, cropped and resized to the shape of a model as images of a data set are."""
    _, ref = model_ref(workspace, query.model.model, query.model.checkpoint)
    return {"pixels": base64_of(image_from_bytes(decode_base64("content", query.content), ref.about.image_shape))}


def edit_parameters(workspace: Workspace, query: EditQuery) -> Any:
    """The parameters of the job that edits. Raises ValueError for what the model or the lab cannot do."""
    path, ref = model_ref(workspace, query.model.model, query.model.checkpoint)
    about, settings = ref.about, query.settings
    for name, most in LIMITS.items():
        if not 1 <= (value := getattr(settings, name)) <= most:
            raise ValueError(f"request.settings.{name} {value}: expected 1 to {most:,}")
    if not 0 <= settings.strength <= 1:
        raise ValueError(
            f"request.settings.strength {settings.strength}: expected a number from 0 (the image) to 1 (noise)"
        )
    names = about.class_names if about.recipe.class_conditional else ()
    label_indices(settings.label or UNCONDITIONAL, 1, names, optional=about.recipe.label_dropout > 0)
    inputs, image, mask = {}, "", ""
    if settings.edit != "interpolate":
        inputs["pixels"], image = query.pixels, "image.png" if query.index < 0 else str(query.index)
        check_image(about.image_shape, query.pixels)
    if settings.edit == "inpaint":
        inputs["mask"], mask = query.mask, "mask.png"
        check_mask(about.image_shape, query.mask)
    return {"call": to_dict(EditCall(path, settings, image, mask)), "inputs": inputs}


def check_image(shape: ImageShape, pixels: str) -> None:
    """Raise ValueError for an image that does not fit the model."""
    c, h, w = shape
    if c not in EDITABLE:
        raise ValueError(f"the model has images of {c} channels: the lab edits those of 1, 3 or 4")
    if not pixels:
        raise ValueError("no image to edit: choose one")
    if (found := len(decode_base64("pixels", pixels))) != c * h * w:
        raise ValueError(f"the image has {found:,} values: expected {c} x {h} x {w}")


def check_mask(shape: ImageShape, mask: str) -> None:
    """Raise ValueError for a mask that does not fit the model, or that covers nothing or everything."""
    _, h, w = shape
    area = decode_base64("mask", mask)
    if not any(area):
        raise ValueError("the mask covers nothing: paint the part of the image that is generated anew")
    if len(area) != h * w:
        raise ValueError(f"the mask has {len(area):,} values: expected {h} x {w}")
    if all(area):
        raise ValueError("the mask covers everything: leave a part of the image as it is")


def decode_base64(name: str, text: str) -> bytes:
    """The bytes of base64. Raises ValueError if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"request.{name} is {ABBREVIATE.repr(text)}: expected base64") from error
