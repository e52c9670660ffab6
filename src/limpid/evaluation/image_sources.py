"""Converts all that `evaluate` accepts as images and reference to the types that scores are computed from."""

from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile, ZipFile

from limpid.data import Data, Folder
from limpid.data.convert import ImagesLike, pixels_from_images
from limpid.data.images import ImageDataset
from limpid.data.readers.fit import Channels
from limpid.evaluation.model import is_run, load_trained_model
from limpid.evaluation.reference import ReferenceStats, load_all_images, name_of
from limpid.evaluation.reference_set import NamedImages, ReferenceSource
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.sample import ImageShape
from limpid.sampling.samples import Samples

ImageSet: TypeAlias = Samples | ImageDataset | Data | ImagesLike | Path | str
"""Samples, images in memory, a data set, or the path of a folder, a .zip or an .npz of images."""
CHANNEL_MODES: dict[int, Channels] = {1: "L", 3: "RGB", 4: "RGBA"}


def image_set(images: ImageSet, shape: ImageShape | None = None) -> NamedImages:
    """All images of a set in memory, with a name for reports.

    The images of a path are read in `shape` (channels, height, width), or as 32x32 RGB. Raises ValueError for an
    object that is not a set of images.
    """
    if isinstance(images, str | Path):
        return NamedImages(load_all_images(folder_data(Path(images), shape)), str(images))
    if isinstance(images, Data):
        return NamedImages(load_all_images(images), name_of(images))
    if isinstance(images, ImageDataset):
        return NamedImages(images, f"{len(images):,} images")
    if isinstance(images, Samples):
        labels = images.labels or [0] * len(images)
        return NamedImages(ImageDataset(images.pixels, labels, images.class_names), f"{len(images):,} samples")
    pixels = pixels_from_images(images)
    return NamedImages(ImageDataset(pixels, [0] * len(pixels)), f"{len(pixels):,} images")


def folder_data(path: Path, shape: ImageShape | None) -> Folder:
    """The images of a folder, a .zip or an .npz, in this shape. Raises ValueError if there is no such path."""
    if not path.exists():
        raise ValueError(f"there is no {path}: expected a run, or a folder, .zip or .npz of images")
    if shape is None:
        return Folder(str(path), split="all")
    channels, height, width = shape
    mode = CHANNEL_MODES.get(channels, channels)
    return Folder(str(path), size=height, width=0 if width == height else width, channels=mode, split="all")


def reference_source(reference: Pipeline | ImageSet | ReferenceStats, shape: ImageShape | None) -> ReferenceSource:
    """The reference; that of a model or a run is its training set. Raises ValueError if it is missing."""
    if isinstance(reference, ReferenceStats):
        return reference
    if isinstance(reference, Pipeline):
        return reference.recipe.data
    if isinstance(reference, Data):
        return reference
    if isinstance(reference, str | Path):
        return reference_from_path(Path(reference), shape)
    return image_set(reference, shape)


def reference_from_path(path: Path, shape: ImageShape | None) -> ReferenceSource:
    """The training set of a run, the statistics in an .npz, or the images of a folder, a .zip or an .npz."""
    if is_run(path):
        data = load_trained_model(path).training_data
        if isinstance(data, str):
            raise ValueError(data)
        return data
    return ReferenceStats(str(path)) if holds_statistics(path) else image_set(path, shape)


def holds_statistics(path: Path) -> bool:
    """Whether an .npz has the arrays mu and sigma."""
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with ZipFile(path) as archive:
            return {"mu.npy", "sigma.npy"} <= set(archive.namelist())
    except BadZipFile:
        return False
