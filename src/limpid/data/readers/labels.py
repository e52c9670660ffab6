"""Labels from names: the folders that images are in, or the beginning of their names, are their classes."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int

from limpid.data.readers.listing import OwnSplit
from limpid.data.readers.row_names import SPLIT_WORDS
from limpid.runtime.terminal import printable

PathParts: TypeAlias = Sequence[str]
"""The name of an image below the root, split at "/"."""
IMAGE_FOLDERS = {"image", "images", "img", "imgs", "jpegimages"}
MASK_FOLDERS = {
    *("annotation", "annotations", "depth", "depths", "ground_truth", "groundtruth", "gt", "label", "labels"),
    *("mask", "masks", "seg", "segmentation", "segmentations", "segmentationclass", "segmentationobject", "trimaps"),
}
"""Names of folders, in lower case, whose images say something of the images of another folder."""
SHARD = re.compile("[0-9]{5,}")
SHARD_FILE = re.compile(r"(?:img|[A-Za-z]*?)([0-9]+)\.[A-Za-z0-9]+")
SHARD_SIZE = 1_000
"""Images in a folder of those that the tools of StyleGAN, EDM and FFHQ write."""


class FolderClasses(NamedTuple):
    """The class of each image by its folder; None for all where the folders are no classes."""

    classes: list[str | None] | None
    note: str = ""
    """Why there are no classes, if there could be."""


def classes_of(names: Sequence[str]) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Labels and class names: the folders that the images are in, if every image is in one; else zeros and no names.

    A folder that holds all images is no class: in a zip of one folder, the classes are the folders in that.
    """
    parts = [name.split("/") for name in names]
    found = folder_classes(parts, first_fork(parts, 0)).classes
    return encode_classes(found, len(names))


def encode_classes(classes: Sequence[str | None] | None, n: int) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Labels and the names of the classes, sorted by name, or by value if all are whole numbers.

    Without classes, or where an image has none, zeros and no names.
    """
    if not classes or None in classes:
        return np.zeros(n, np.int64), ()
    found = sorted({name for name in classes if name is not None}, key=bytes_of)
    if whole_numbers(found):
        found.sort(key=int)
    number = {name: i for i, name in enumerate(found)}
    labels = np.fromiter((number[name] for name in classes if name is not None), np.int64, n)
    return labels, tuple(map(printable, found))


def first_fork(parts: Sequence[PathParts], depth: int) -> int:
    """The first depth, from `depth` on, at which the images are not in one and the same folder, but for a few."""
    while True:
        folders = {p[depth] for p in parts if len(p) > depth + 1}
        if len(folders) != 1 or not are_few(sum(len(p) <= depth + 1 for p in parts), len(parts)):
            return depth
        depth += 1


def are_few(strays: int, n: int) -> bool:
    """Whether so many of n images may be left out as stray ones: one, or a tenth."""
    return strays <= max(1, n // 10)


def folder_classes(parts: Sequence[PathParts], depth: int) -> FolderClasses:
    """The folder at this depth as the class of each image, None for the few that are in none.

    No classes where there are fewer than two folders, where many images are in none, and where the folders are shards.
    """
    classes = [p[depth] if len(p) > depth + 1 else None for p in parts]
    folders, strays = set(classes) - {None}, classes.count(None)
    if folders and strays and not (len(folders) > 1 and are_few(strays, len(parts))):
        return FolderClasses(None, f"no classes: {strays:,} of {len(parts):,} images are in no folder of a class")
    if len(folders) < 2:
        return FolderClasses(None)
    if all(p is None or is_shard(p, names[-1]) for p, names in zip(classes, parts, strict=True)):
        return FolderClasses(None, "no classes: its folders are numbered shards")
    return FolderClasses(classes)


def is_shard(folder: str, file: str) -> bool:
    """Whether a folder is named by the number of the file in it, as 00012/img00012345.png or 12000/12345.png."""
    match = SHARD_FILE.fullmatch(file)
    if not (match and SHARD.fullmatch(folder)):
        return False
    if file.startswith("img") and len(match[1]) == 8:
        return True
    return int(folder) in (int(match[1]) // SHARD_SIZE, int(match[1]) // SHARD_SIZE * SHARD_SIZE)


def split_folders(parts: Sequence[PathParts], depth: int) -> dict[str, OwnSplit]:
    """The folders at this depth that are splits, if there are two different splits among them; else none."""
    folders = {p[depth] for p in parts if len(p) > depth + 1}
    found: dict[str, OwnSplit] = {f: SPLIT_WORDS[f.lower()] for f in folders if f.lower() in SPLIT_WORDS}
    return found if len(set(found.values())) > 1 else {}


def check_no_masks(parts: Sequence[PathParts], depth: int, root: str) -> None:
    """Raise ValueError if the images at this depth lie beside folders of their masks or annotations."""
    folders = {p[depth].lower() for p in parts if len(p) > depth + 1}
    if not (folders & IMAGE_FOLDERS and folders & MASK_FOLDERS):
        return
    paths = sorted({"/".join(p[: depth + 1]) for p in parts if len(p) > depth + 1})
    images, masks = (
        next((path for path in paths if path.rpartition("/")[2].lower() in words), "")
        for words in (IMAGE_FOLDERS, MASK_FOLDERS)
    )
    advice = f"name the folder of the images, --data.root {root}/{images}"
    raise ValueError(f"{root} holds {printable(f'{images}/ beside {masks}/')}: {printable(advice)}")


def prefix_classes(names: Sequence[str]) -> list[str]:
    """The class of each image by its name before the first underscore, as in guided-diffusion.

    Raises ValueError for a name without one.
    """
    files = [name.rpartition("/")[2] for name in names]
    if wrong := next((file for file in files if "_" not in file), ""):
        raise ValueError(f"labels prefix: the name of {printable(wrong)} has no underscore: expected CLASS_NAME")
    return [file.partition("_")[0] for file in files]


def whole_numbers(names: Iterable[str]) -> bool:
    """Whether all names are whole numbers of at most 18 digits."""
    return all(re.fullmatch("-?[0-9]{1,18}", name) for name in names)


def bytes_of(name: str) -> bytes:
    """The bytes of a name, whatever its encoding."""
    return name.encode("utf-8", "surrogatepass")
