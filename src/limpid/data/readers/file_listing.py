"""The listing of a set that is a file for each image, wherever the files are: in a folder or in an archive."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipInfo

import numpy as np
from jaxtyping import Bool

from limpid.data.fingerprint import Fingerprint, fingerprint_of_files
from limpid.data.readers.assignment import Assignment, assign
from limpid.data.readers.file_kinds import NUMPY_ARRAY, SUFFIXES, UnreadKind, kind_of_file
from limpid.data.readers.label_tables import DATASET_JSON, MAX_TABLE_BYTES, METADATA
from limpid.data.readers.labels import are_few, bytes_of, classes_in_names
from limpid.data.readers.listing import ImageListing, LeftOutCounter, Load, UnreadableImage
from limpid.runtime.terminal import printable
from limpid.storage.download import expand_home
from limpid.storage.regular_files import read_bytes

TABLES = (DATASET_JSON, *METADATA)
"""Names of files that may hold labels."""
SYNOLOGY_THUMBNAILS = "@eaDir"


class FoundFile(NamedTuple):
    """A file of a set: its name below the root, its size and the time of its last change, and its entry in a zip."""

    name: str
    size: int
    time: int = 0
    entry: ZipInfo | None = None


@dataclass(frozen=True)
class FileStore:
    """Where the files of a set are, and how they are read."""

    root: Path
    read: Callable[[FoundFile, int], bytes]
    """At most so many bytes of a file, from its beginning; raises OSError or ValueError."""
    load: Callable[[FoundFile], Load]
    """Reads an image."""
    find: Callable[[str], FoundFile | None]
    """The file of this name."""
    encode: Callable[[str], bytes] = bytes_of
    """The bytes of a name, by which images are sorted."""


def listing_of_files(
    store: FileStore, files: Iterable[FoundFile | UnreadableImage], labels: str, stamp: Callable[[list[FoundFile]], str]
) -> ImageListing:
    """The images among the files of a set, with their classes and splits.

    `labels` is the option `--data.labels`; `stamp` makes the fingerprint of the listing from the images. Raises
    ValueError as `assign` does.
    """
    found, tables, refused, left_out = sort_files(store, files, labels)

    def read_table(name: str) -> bytes:
        return _read_table(store, tables.get(name) or store.find(name), name)

    names = [file.name for file in found]
    assigned = assign(names, sorted(tables), read_table, labels, printable(str(store.root)), left_out)
    found = list(compress(found, assigned.chosen))

    def loads(chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
        return (store.load(file) for file in compress(found, chosen))

    return ImageListing(
        store.root,
        [file.name for file in found],
        assigned.labels,
        assigned.classes,
        stamp(found),
        loads,
        tuple(sorted(refused)),
        left_out.records(),
        (*assigned.notes, *hints(names, left_out, assigned, labels)),
        assigned.splits,
        content=content_of(found, assigned, store.encode),
    )


def sort_files(
    store: FileStore, files: Iterable[FoundFile | UnreadableImage], labels: str
) -> tuple[list[FoundFile], dict[str, FoundFile], list[UnreadableImage], LeftOutCounter]:
    """The images sorted by name, the files that may hold labels by name, what cannot be read, and what is left out."""
    found: list[FoundFile] = []
    tables: dict[str, FoundFile] = {}
    refused: list[UnreadableImage] = []
    arrays: list[FoundFile] = []
    left_out = LeftOutCounter()
    for file in files:
        if isinstance(file, UnreadableImage):
            refused.append(file)
        elif SYNOLOGY_THUMBNAILS in file.name and SYNOLOGY_THUMBNAILS in file.name.split("/"):
            left_out.add(f"thumbnails of a Synology, in {SYNOLOGY_THUMBNAILS}", file.name)
        elif file.name.lower().endswith(SUFFIXES):  # nearly all files: no time is lost on them
            found.append(file)
        elif file.name.endswith(TABLES) and file.name.rpartition("/")[2] in TABLES:
            tables[file.name] = file
        elif labels.partition(":")[0] == file.name:
            continue
        elif (kind := kind_of_file(file.name, partial(_head, store, file))) is None:
            found.append(file)
        elif kind is NUMPY_ARRAY:
            arrays.append(file)
        elif isinstance(kind, UnreadKind):
            refused.append(UnreadableImage(file.name, str(kind)))
        else:
            left_out.add(kind, file.name)
    for file in arrays:  # of a few, each may be of labels or features, and of many, of an image
        if are_few(len(arrays), len(found)):
            left_out.add(f"NumPy arrays beside the images: {NUMPY_ARRAY.advice}", file.name)
        else:
            refused.append(UnreadableImage(file.name, str(NUMPY_ARRAY)))
    found.sort(key=lambda file: store.encode(file.name))
    return found, tables, refused, left_out


def hints(names: list[str], left_out: LeftOutCounter, assigned: Assignment, labels: str) -> Iterator[str]:
    """What the owner of a set without classes could do, if it holds a table or its files are named by their classes."""
    if assigned.classes or labels:
        return
    if tables := left_out.names.get(".csv files"):
        name = printable(min(tables, key=lambda name: "submission" in name.lower()))
        yield f"if {name} holds labels, they are read with --data.labels {name}"
    elif words := classes_in_names(names):
        few = f"{', '.join(words[:3])}{', ...' if len(words) > 3 else ''}"
        yield printable(
            f"if the {len(words):,} words that names begin with ({few}) are classes: --data.labels numbered"
        )


def content_of(found: list[FoundFile], assigned: Assignment, encode: Callable[[str], bytes]) -> Fingerprint:
    """What identifies the images: their names and sizes, and their classes and splits where the names do not tell."""
    if not assigned.explicit:
        return fingerprint_of_files((encode(file.name), file.size) for file in found)
    classes = [assigned.classes[label] for label in assigned.labels] if assigned.classes else [""] * len(found)
    splits = assigned.splits or [None] * len(found)
    return fingerprint_of_files(
        (encode(file.name) + bytes_of(f"\0{name}\0{split or ''}"), file.size)
        for file, name, split in zip(found, classes, splits, strict=True)
    )


def _head(store: FileStore, file: FoundFile, size: int) -> bytes:
    """The first bytes of a file; none for a file that cannot be read."""
    try:
        return store.read(file, size)
    except (OSError, ValueError):
        return b""


def _read_table(store: FileStore, file: FoundFile | None, name: str) -> bytes:
    """The bytes of a table of labels: of the set, or beside its root, or at a path of its own."""
    try:
        if file is None:
            paths = [path for path in (store.root.parent / name, expand_home(name)) if path.exists()]
            if not paths:
                raise ValueError("there is no such file in the set, beside it, or in this folder")
            return read_bytes(paths[0], MAX_TABLE_BYTES)
        blob = store.read(file, MAX_TABLE_BYTES + 1)
        if len(blob) > MAX_TABLE_BYTES:
            raise ValueError(f"it is longer than {MAX_TABLE_BYTES:,} bytes")
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the labels in {printable(name)}: {error}") from error
    return blob
