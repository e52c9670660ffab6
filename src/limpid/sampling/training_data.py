"""The training data of a run, checked by its fingerprint; it may have been moved."""

from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from limpid.data import Data, DataSource, Digits, Folder, InMemory
from limpid.data.description import CHANNEL_NAMES, IMAGES_EXPECTED
from limpid.data.stream import StreamingDataset
from limpid.diffusion.targets import Edm
from limpid.recipes.recipe import Recipe, with_root
from limpid.runtime.log import logger
from limpid.sampling.checkpoints import CheckpointInfo
from limpid.sampling.labels import check_class_names
from limpid.storage.download import expand_home


def open_data(data: Data, device: torch.device | str, *, of_run: bool) -> DataSource:
    """The images of a recipe. Raises ValueError if they cannot be read: where there is nothing at their path, with what
    to do, for the images `of_run`, a run that was trained on them, or for those that a new run is to be trained on."""
    try:
        return data.open(device)
    except ValueError as error:
        root = getattr(data, "root", "")
        if not root or expand_home(root).exists():
            raise
        if of_run:
            raise ValueError(f"{error}; if it was moved, give its new path with --data.root") from error
        if not isinstance(data, Folder):
            raise
        raise ValueError(f"{error}: expected a folder of images, or a file that holds them") from error


def data_warnings(recipe: Recipe, source: DataSource) -> list[str]:
    """What may be wrong with the images of a recipe: too few, of an odd standard deviation, in both splits, ..."""
    expected = IMAGES_EXPECTED if isinstance(recipe.data, Folder | InMemory) else 0
    sigma_data = recipe.target.sigma_data if isinstance(recipe.target, Edm) else 0.5
    return list(source.description.warnings(sigma_data, expected))


def log_data(recipe: Recipe, source: DataSource) -> None:
    """Log how the images of a recipe were read, and what may be wrong with them."""
    logger.info("\n".join(source.description.facts()))
    for line in data_warnings(recipe, source):
        logger.warning(line)


def check_data(about: CheckpointInfo, source: DataSource, run: Path | str) -> None:
    """Raise ValueError if images are not those that a run was trained on, or have other classes."""
    if about.recipe.class_conditional:
        check_class_names(about.class_names, source.class_names, str(run))
    if changed := about.data.differences(source.fingerprint):
        advice = "restore the images, or name their new path with --data.root"
        raise ValueError(f"{run} was trained on other data than this ({', '.join(changed)}): {advice}")
    check_shape(about, source, run)


def check_shape(about: CheckpointInfo, source: DataSource, run: Path | str) -> None:
    """Raise ValueError if images have another size or number of channels than those of a model."""
    if source.shape != about.image_shape:
        advice = "--images FILE of limpid edit, --reference Folder --reference.root FOLDER of limpid evaluate"
        taken, given = shape_in_words(about.image_shape), shape_in_words(source.shape)
        raise ValueError(f"{run} takes images of {taken}, and its data has {given}: give it others by {advice}")


def shape_in_words(shape: tuple[int, int, int]) -> str:
    """The shape (channels, height, width) of images, as in 32x32 RGB."""
    channels, height, width = shape
    return f"{height}x{width} {CHANNEL_NAMES.get(channels, f'with {channels} channels')}"


def data_of_run(about: CheckpointInfo, root: str, run: Path | str) -> Data:
    """The data of a run, at `root` if that is given, checked to be what it was trained on, as far as that is recorded.

    Raises ValueError if it is not, or cannot be read.
    """
    data = with_root(about.recipe.data, root) if root else about.recipe.data
    # No other is read without a download.
    if about.data.images or isinstance(data, Digits) or getattr(data, "root", ""):
        images_of_run(about, root, run)
    return data


def images_of_run(about: CheckpointInfo, root: str, run: Path | str) -> DataSource:
    """The images of a run, at `root` if that is given. Raises ValueError as `data_of_run`."""
    source = open_data(with_root(about.recipe.data, root) if root else about.recipe.data, "cpu", of_run=not root)
    check = check_data if root or about.data.images else check_shape
    check(about, source, run)
    return source


def dataset_image(index: int, source: DataSource) -> tuple[UInt8[Tensor, "c h w"], str]:
    """An image of a data set, and the name of its class. Raises ValueError for an index outside the set."""
    if index >= len(source):
        raise ValueError(f"no image {index}: the data set has {len(source):,}, numbered from 0")
    if isinstance(source, StreamingDataset):
        pixels, label = source.converted[index]
    else:
        pixels, label = source.pixels[index], int(source.labels[index])
    return pixels, source.class_names[label] if source.class_names else str(index)
