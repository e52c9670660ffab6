"""Which class and which split each image of a set belongs to, and which images belong to none and are left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from jaxtyping import Bool, Int

from limpid.data.readers.label_tables import (
    DATASET_JSON,
    METADATA,
    LabelTable,
    classes_by_table,
    labels_from_dataset_json,
    labels_from_metadata,
    labels_from_table,
)
from limpid.data.readers.labels import (
    FolderPath,
    are_few,
    check_no_masks,
    classes_at,
    classes_in_names,
    encode_classes,
    first_fork,
    folder_classes,
    folders_of,
    numbered_classes,
    prefix_classes,
    split_folders,
)
from limpid.data.readers.listing import OWN_SPLITS, LeftOutCounter, OwnSplit

NO_LABELS, PREFIX, NUMBERED, FOLDERS = OPTIONS = "none", "prefix", "numbered", "folders"
"""Values of `--data.labels` that are no table."""
ReadTable = Callable[[str], bytes]
"""The bytes of a file of the set, or beside it, by its name. Raises ValueError."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """The class and the split of the images that a set is taken to hold."""

    chosen: Bool[np.ndarray, " n"]
    """A mask of the images that were not left out; the other fields are of these alone."""
    labels: Int[np.ndarray, " m"]
    classes: tuple[str, ...]
    splits: Sequence[OwnSplit | None]
    notes: tuple[str, ...]
    explicit: bool
    """Whether more than the names of class folders decides, so that it belongs to what identifies the set."""


@dataclass
class _Images:
    """The images while they are assigned: what is known of each, None where nothing is."""

    names: list[str]
    folders: list[FolderPath]
    chosen: list[bool]
    splits: list[OwnSplit | None]
    left_out: LeftOutCounter

    def leave_out(self, kind: str, positions: Iterable[int]) -> None:
        """Leave out the images of these positions, unless they are left out already."""
        for i in positions:
            if self.chosen[i]:
                self.chosen[i] = False
                self.left_out.add(kind, self.names[i])

    def own_splits(self) -> list[OwnSplit]:
        """The splits that are named, in the order train, val, test."""
        found = set(compress(self.splits, self.chosen))
        return [name for name in OWN_SPLITS if name in found]


def assign(
    names: list[str], tables: Sequence[str], read: ReadTable, labels: str, root: str, left_out: LeftOutCounter
) -> Assignment:
    """The class and split of each image of the set at `root`, by its name, its tables and the option `--data.labels`.

    What is left out is counted in `left_out`. Raises ValueError where it is not clear which images are meant, and for
    a table that is broken or does not fit.
    """
    images = _Images(names, folders_of(names), [True] * len(names), [None] * len(names), left_out)
    depth, notes = _assign_splits(images, root), list[str]()
    found = _tables(names, tables, read, labels)
    for name in set(tables) - {table.file for table in found}:
        left_out.add("tables whose labels are not used", name)
    if labels == NO_LABELS or not names:
        classes = None
    elif labels == PREFIX:
        classes = list[str | None](prefix_classes(names))
        notes.append("labels from the names of files, up to the first _")
        if len(words := classes_in_names(names)) > len(set(classes)):
            notes.append(f"--data.labels numbered takes more of the names, up to the number: {len(words):,} classes")
    elif labels == NUMBERED:
        classes = list[str | None](numbered_classes(names))
        notes.append("labels from the names of files, without the number at the end")
    elif found:
        classes = _classes_by_tables(images, found)
        notes += [table.note for table in found]
    else:
        classes = _classes_by_folder(images, depth, notes)
    own = images.own_splits()
    chosen = np.array(images.chosen, bool)
    if len(own) == 1 and any(images.splits):
        notes.append(f"images are held out by their names: what is left is all of the split {own[0]}")
    splits = tuple[OwnSplit | None, ...](compress(images.splits, images.chosen) if len(own) > 1 else ())
    encoded = encode_classes(classes and list(compress(classes, images.chosen)), int(chosen.sum()))
    explicit = bool(found) or labels in (NO_LABELS, PREFIX, NUMBERED) or any(images.splits)
    return Assignment(chosen, *encoded, splits, tuple(notes), explicit)


def _assign_splits(images: _Images, root: str) -> int:
    """Give each image the split of its folder, if there are such folders, and return the depth of what is below.

    Raises ValueError for images beside their masks.
    """
    counts = Counter(images.folders)
    depth = first_fork(counts, 0)
    found = split_folders(counts, depth)
    if found:
        images.splits = [found.get(name) if name else None for name in classes_at(images.folders, depth)]
        words = " and ".join(sorted(found))
        images.leave_out(f"images outside of {words}", _without(images.splits))
        depth += 1
    check_no_masks(set(compress(images.folders, images.chosen)), depth, root)
    return depth


def _without(values: Sequence[str | None]) -> Iterable[int]:
    """The positions of the images of which nothing is known."""
    return (i for i, value in enumerate(values) if value is None)


def _classes_by_folder(images: _Images, depth: int, notes: list[str]) -> list[str | None] | None:
    """The class of each image by its folder; where it has splits, by the folders that the first of them has.

    The few images in no folder are left out, and all of a split without such folders.
    """
    own = images.own_splits()

    def positions(split: str | None) -> list[int]:
        return [i for i, each in enumerate(images.splits) if images.chosen[i] and each == split]

    base = positions(own[0] if own else None)
    folders = [images.folders[i] for i in base]
    depth = first_fork(Counter(folders), depth)
    found = folder_classes([images.names[i] for i in base], folders, depth)
    notes += [found.note] if found.note else []
    if found.classes is None:
        return None
    classes = classes_at(images.folders, depth)
    for split in own[1:]:
        inside = positions(split)
        if not are_few(sum(classes[i] is None for i in inside), len(inside)):
            images.leave_out(f"images of {split}, which has no folders of classes", inside)
    images.leave_out("images in no folder of a class", _without(classes))
    return classes


def _classes_by_tables(images: _Images, tables: Sequence[LabelTable]) -> list[str | None] | None:
    """The class of each image by the first table that has it; images that none has are left out.

    Raises ValueError if no image is in a table that names classes.
    """
    tables = [table for table in tables if table.classes]
    if not tables:
        return None
    classes = classes_by_table(tables[0], images.names)
    for table in tables[1:]:
        more = classes_by_table(table, images.names)
        classes = [a if a is not None else b for a, b in zip(classes, more, strict=True)]
    sources = " and ".join(table.source for table in tables[:2])
    if not any(each is not None and chosen for each, chosen in zip(classes, images.chosen, strict=True)):
        raise ValueError(f"no image has a label in {sources}: an image is called {images.names[0]}")
    images.leave_out(f"images without a label in {sources}", _without(classes))
    return classes


def _tables(names: list[str], found: Sequence[str], read: ReadTable, labels: str) -> list[LabelTable]:
    """The tables that labels are from: the one that is named, else dataset.json, else metadata of Hugging Face."""
    if labels in OPTIONS or not names:
        return []
    if labels:
        path, *columns = _path_and_columns(labels, read)
        return [labels_from_table(read(path), path, columns, names)]
    own = [name for name in found if name.rpartition("/")[2] == DATASET_JSON]
    tables = [table for name in own if (table := labels_from_dataset_json(read(name), name))]
    if tables:
        return tables
    metadata = [name for name in found if name.rpartition("/")[2] in METADATA]
    return [table for name in metadata if (table := labels_from_metadata(read(name), name))]


def _path_and_columns(labels: str, read: ReadTable) -> list[str]:
    """The path of a table and the columns named after it: PATH, PATH:LABEL or PATH:NAME:LABEL."""
    parts = labels.split(":")
    for n in (0, 1, 2):
        path = ":".join(parts[: len(parts) - n])
        if path.lower().endswith(TABLE_SUFFIXES):
            return [path, *parts[len(parts) - n :]]
    choices = f"{NO_LABELS}, {FOLDERS}, {PREFIX}, {NUMBERED}, or a table, named {', '.join(TABLE_SUFFIXES)}"
    raise ValueError(f"labels {labels}: expected {choices}")


TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
"""Ends of the names of tables of labels."""
