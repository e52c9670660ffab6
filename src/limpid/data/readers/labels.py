"""Labels from names: the folders that images are in, or the beginning of their names, are their classes."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int

from limpid.data.readers.listing import OwnSplit
from limpid.data.readers.row_names import SPLIT_WORDS
from limpid.runtime.terminal import printable

FolderPath: TypeAlias = tuple[str, ...]
"""The folders that an image is in, from the root down."""
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

NUMBERED_FILE = re.compile(r"(.+)_[0-9]+\.[^.]+")
IMAGES_PER_WORD = 10
"""Images for each word in front of a number, on average, from which on the words may be classes."""


class FolderClasses(NamedTuple):
    """The class of each image by its folder; None for all where the folders are no classes."""

    classes: list[str | None] | None
    note: str = ""
    """Why there are no classes, if there could be."""


def classes_of(names: Sequence[str]) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Labels and class names: the folders that the images are in, if every image is in one; else zeros and no names.

    A folder that holds all images is no class: in a zip of one folder, the classes are the folders in that.
    """
    folders = folders_of(names)
    found = folder_classes(names, folders, first_fork(Counter(folders), 0)).classes
    return encode_classes(found, len(names))


def folders_of(names: Sequence[str]) -> list[FolderPath]:
    """The folders that each image is in; images of one folder share one tuple, so that a large set is counted fast."""
    paths = [name.rpartition("/")[0] for name in names]
    parts = {path: tuple(path.split("/")) if path else () for path in set(paths)}
    return [parts[path] for path in paths]


def encode_classes(classes: Sequence[str | None] | None, n: int) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Labels and the names of the classes, sorted by name, or by value if all are whole numbers.

    Without classes, or where an image has none, zeros and no names.
    """
    if not classes or None in classes:
        return np.zeros(n, np.int64), ()
    found = sorted({name for name in classes if name is not None}, key=bytes_of)
    if whole_numbers(found):
        found.sort(key=int)
    number: dict[str | None, int] = {name: i for i, name in enumerate(found)}
    labels = np.fromiter(map(number.__getitem__, classes), np.int64, n)
    return labels, tuple(map(printable, found))


def first_fork(folders: Counter[FolderPath], depth: int) -> int:
    """The first depth, from `depth` on, at which the images are not in one and the same folder, but for a few.

    The images are given by their number in each folder.
    """
    while True:
        strays = sum(n for folder, n in folders.items() if len(folder) <= depth)
        if len(names_at(folders, depth)) != 1 or not are_few(strays, folders.total()):
            return depth
        depth += 1


def names_at(folders: Iterable[FolderPath], depth: int) -> set[str]:
    """The names of the folders at this depth."""
    return {folder[depth] for folder in folders if len(folder) > depth}


def are_few(strays: int, n: int) -> bool:
    """Whether so many of n images may be left out as stray ones: one, or a tenth."""
    return strays <= max(1, n // 10)


def folder_classes(names: Sequence[str], folders: Sequence[FolderPath], depth: int) -> FolderClasses:
    """The folder at this depth as the class of each image, None for the few that are in none.

    No classes where there are fewer than two folders, where many images are in none, and where the folders are shards.
    """
    classes = classes_at(folders, depth)
    found, strays = set(classes) - {None}, classes.count(None)
    if found and strays and not (len(found) > 1 and are_few(strays, len(names))):
        return FolderClasses(None, f"no classes: {strays:,} of {len(names):,} images are in no folder of a class")
    if len(found) < 2:
        return FolderClasses(None)
    if all(each is None or is_shard(each, file_of(name)) for each, name in zip(classes, names, strict=True)):
        return FolderClasses(None, "no classes: its folders are numbered shards")
    return FolderClasses(classes)


def classes_at(folders: Sequence[FolderPath], depth: int) -> list[str | None]:
    """The folder at this depth that each image is in, None where it is in none."""
    found = {folder: folder[depth] if len(folder) > depth else None for folder in set(folders)}
    return [found[folder] for folder in folders]


def is_shard(folder: str, file: str) -> bool:
    """Whether a folder is named by the number of the file in it, as 00012/img00012345.png or 12000/12345.png."""
    match = SHARD_FILE.fullmatch(file)
    if not (match and SHARD.fullmatch(folder)):
        return False
    if file.startswith("img") and len(match[1]) == 8:
        return True
    return int(folder) in (int(match[1]) // SHARD_SIZE, int(match[1]) // SHARD_SIZE * SHARD_SIZE)


def split_folders(folders: Iterable[FolderPath], depth: int) -> dict[str, OwnSplit]:
    """The folders at this depth that are splits, if there are two different splits among them; else none."""
    names = names_at(folders, depth)
    found: dict[str, OwnSplit] = {name: SPLIT_WORDS[name.lower()] for name in names if name.lower() in SPLIT_WORDS}
    return found if len(set(found.values())) > 1 else {}


def check_no_masks(folders: Collection[FolderPath], depth: int, root: str) -> None:
    """Raise ValueError if the images at this depth lie beside folders of their masks or annotations."""
    names = {name.lower() for name in names_at(folders, depth)}
    if not (names & IMAGE_FOLDERS and names & MASK_FOLDERS):
        return
    paths = sorted({"/".join(folder[: depth + 1]) for folder in folders if len(folder) > depth})
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
    files = list(map(file_of, names))
    if wrong := next((file for file in files if "_" not in file), ""):
        raise ValueError(f"labels prefix: the name of {printable(wrong)} has no underscore: expected CLASS_NAME")
    return [file.partition("_")[0] for file in files]


def numbered_classes(names: Iterable[str]) -> list[str]:
    """The class of each image by its name without the number at the end, as american_bulldog_12.jpg of Oxford Pets.

    Raises ValueError for a name that does not end in _ and a number.
    """
    return [_class_of_numbered(name) for name in names]


def _class_of_numbered(name: str) -> str:
    match = NUMBERED_FILE.fullmatch(file_of(name))
    if not match:
        raise ValueError(f"labels numbered: {printable(file_of(name))} is called otherwise: expected CLASS_NUMBER")
    return match[1]


def classes_in_names(names: Sequence[str]) -> list[str]:
    """What the names of all files begin with, in front of a number, if it may be classes: 2 words or more, and ten
    images or more for each on average. Empty otherwise."""
    try:
        found = sorted(set(numbered_classes(names)), key=bytes_of)
    except ValueError:
        return []
    return found if 1 < len(found) <= len(names) / IMAGES_PER_WORD else []


def file_of(name: str) -> str:
    """The name of the file, without its folders."""
    return name.rpartition("/")[2]


def whole_numbers(names: Iterable[str]) -> bool:
    """Whether all names are whole numbers of at most 18 digits."""
    return all(re.fullmatch("-?[0-9]{1,18}", name) for name in names)


def bytes_of(name: str) -> bytes:
    """The bytes of a name, whatever its encoding."""
    return name.encode("utf-8", "surrogatepass")
