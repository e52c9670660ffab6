"""Labels from a file beside the images: dataset.json of StyleGAN and EDM, metadata.csv or .jsonl of Hugging Face, or a
table of the user's."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import Any, NamedTuple

from limpid.data.readers.labels import file_of
from limpid.data.readers.messages import one_line
from limpid.runtime.terminal import printable

MAX_TABLE_BYTES = 2**28
"""Limit of the size of a table of labels, in bytes."""
DATASET_JSON, METADATA = "dataset.json", ("metadata.csv", "metadata.jsonl")
LABEL_NAMES = ("label", "labels", "class", "class_name", "category", "target", "y")
"""Names of columns, in lower case, that are taken for labels, the first first."""
FILE_NAME = "file_name"
"""The column of a metadata file that holds the names of images."""
LONGEST_CLASS = 255
"""Limit of the letters in the name of a class."""
MAX_TABLE_COLUMNS = 10_000
MAX_TABLE_ROWS = 2**24
SAMPLED_ROWS = 200
"""Rows from which the column of names is found."""


@dataclass(frozen=True)
class LabelTable:
    """The classes that a file names for images."""

    file: str
    """Its name below the root of the set."""
    source: str
    """What to call it: the file, and the column."""
    folder: str
    """The folder that the names in it are relative to; empty, or with "/" at its end."""
    classes: dict[str, str]
    """The class by the name of the image."""
    note: str
    """What was understood, one line."""


class TableColumns(NamedTuple):
    """The columns of a table by their names."""

    source: str
    columns: dict[str, list[str]]


def labels_from_dataset_json(blob: bytes, name: str) -> LabelTable | None:
    """The labels in a dataset.json of StyleGAN or EDM; None for another file of this name.

    A label is a whole number or a one-hot vector. Raises ValueError for a file that is broken.
    """
    about = _json(blob, name)
    if not isinstance(about, dict) or "labels" not in about:
        return None
    pairs, folder = about["labels"], name[: -len(DATASET_JSON)]
    if pairs is None:
        return LabelTable(name, name, folder, {}, f"no classes: {printable(name)} has no labels")
    if not (isinstance(pairs, list) and all(isinstance(p, list) and len(p) == 2 and type(p[0]) is str for p in pairs)):
        raise ValueError(f"the labels of {printable(name)} are no pairs of a name and a label")
    classes = {file.replace("\\", "/"): _class_from(label) for file, label in pairs}
    if None in classes.values():
        return LabelTable(
            name, name, folder, {}, f"no classes: the labels of {printable(name)} are vectors, and not one-hot"
        )
    known = {file: str(label) for file, label in classes.items()}
    return LabelTable(name, name, folder, known, f"labels from {printable(name)}")


def _class_from(label: object) -> int | None:
    """A label as a whole number, that of a one-hot vector too; None for any other."""
    if isinstance(label, list):
        hot = [i for i, value in enumerate(label) if value == 1]
        return hot[0] if len(hot) == 1 and all(value in (0, 1) for value in label) else None
    number = isinstance(label, int | float) and label == label and abs(label) < 2**53
    return int(label) if number and label == int(label) else None  # pyright: ignore[reportArgumentType]


def labels_from_metadata(blob: bytes, name: str) -> LabelTable | None:
    """The labels in a metadata.csv or .jsonl of Hugging Face; None if it has no column file_name or none of labels."""
    table = read_table(blob, name)
    label = _label_column(table.columns, FILE_NAME) if FILE_NAME in table.columns else None
    return None if label is None else _table(table, name.rpartition("/")[0], FILE_NAME, label)


def labels_from_table(blob: bytes, path: str, columns: Sequence[str], names: Sequence[str]) -> LabelTable:
    """The labels in a table: `columns` are given as (), (label,) or (name of the image, label), and found if not given.

    Raises ValueError if they are not in it, or cannot be found.
    """
    table = read_table(blob, path)
    given = [_named(table, column) for column in columns]
    key = given[0] if len(given) == 2 else _name_column(table, names)
    label = given[-1] if given else _label_column(table.columns, key)
    if label is None:
        others = ", ".join(column for column in table.columns if column != key)
        raise ValueError(f"which column of {path} holds the labels? Name one, {path}:COLUMN, of {printable(others)}")
    return _table(table, "", key, label)


def _table(table: TableColumns, folder: str, key: str, label: str) -> LabelTable:
    source, classes = f"{table.source}, column {label}", dict[str, str]()
    for name, value in zip(table.columns[key], table.columns[label], strict=True):
        name = name.replace("\\", "/").removeprefix("./")
        if len(value) > LONGEST_CLASS:
            raise ValueError(f"{printable(source)} holds no classes: {printable(value[:60])}... is too long for a name")
        if value and classes.setdefault(name, value) != value:
            raise ValueError(f"{printable(name)} has two labels in {printable(source)}: {classes[name]} and {value}")
    return LabelTable(table.source, source, f"{folder}/" if folder else "", classes, f"labels from {printable(source)}")


def read_table(blob: bytes, name: str) -> TableColumns:
    """The columns of a .csv, .tsv or .jsonl file. Raises ValueError if it is broken."""
    try:
        text = blob.decode("utf-8-sig")
        rows = _json_lines(text) if name.lower().endswith((".jsonl", ".json", ".ndjson")) else _csv_rows(text)
        return TableColumns(name, rows)
    except (ValueError, csv.Error, RecursionError) as error:
        raise ValueError(f"cannot read {printable(name)}: {one_line(error)}") from error


def _csv_rows(text: str) -> dict[str, list[str]]:
    first = text.partition("\n")[0]
    rows = csv.reader(StringIO(text), delimiter=max(",;\t", key=first.count), strict=True)
    header = [column.strip() for column in next(rows, [])]
    if not 2 <= len(set(header)) == len(header) <= MAX_TABLE_COLUMNS:
        raise ValueError("its first line does not name two or more columns")
    found: dict[str, list[str]] = {column: [] for column in header}
    for row in islice(rows, MAX_TABLE_ROWS):
        if row:
            cells = [*row, *[""] * (len(header) - len(row))]
            for column, cell in zip(header, cells, strict=False):
                found[column].append(cell.strip())
    return found


def _json_lines(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for count, line in enumerate(islice((line for line in text.splitlines() if line.strip()), MAX_TABLE_ROWS)):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("a line is no object of JSON")
        for column in row.keys() - found.keys():
            found[column] = [""] * count
        if len(found) > MAX_TABLE_COLUMNS:
            raise ValueError(f"it has more than {MAX_TABLE_COLUMNS:,} columns")
        for column, cells in found.items():
            cells.append(_cell(row.get(column)))
    return found


def _cell(value: Any) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else json.dumps(value)


def _json(blob: bytes, name: str) -> Any:
    try:
        return json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot read {printable(name)}: {one_line(error)}") from error


def _named(table: TableColumns, column: str) -> str:
    match = next((name for name in table.columns if name.lower() == column.lower()), None)
    if match is None:
        raise ValueError(
            f"no column {printable(column)} in {table.source}: it has {printable(', '.join(table.columns))}"
        )
    return match


def _label_column(columns: dict[str, list[str]], key: str) -> str | None:
    """The column of labels: the one that is called so, or the only one beside `key`; None if there is none."""
    others = [column for column in columns if column != key]
    known = [column for label in LABEL_NAMES for column in others if column.lower() == label]
    return known[0] if known else others[0] if len(others) == 1 and key != FILE_NAME else None


def _name_column(table: TableColumns, names: Sequence[str]) -> str:
    """The column in which most of the names of the images are found. Raises ValueError if there is none."""
    sampled: dict[str, set[str]] = {}
    for column, cells in table.columns.items():
        chosen = cells[:: max(1, len(cells) // SAMPLED_ROWS)]
        sampled[column] = {cell.replace("\\", "/").removeprefix("./") for cell in chosen if cell}
    found: dict[str, set[str]] = {column: set() for column in sampled}
    for name in names:
        for key in {form(name) for form in NAME_FORMS}:
            for column, cells in sampled.items():
                if key in cells:
                    found[column].add(key)
    best = max(found, key=lambda column: len(found[column]), default="")
    if not best or not found[best]:
        columns = printable(", ".join(table.columns))
        raise ValueError(
            f"no column of {table.source} holds the names of the images: it has {columns}, "
            f"and an image is called {printable(names[0])}"
        )
    return best


def without_suffix(name: str) -> str:
    """The name without what follows the last point of the file's."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + (file.rpartition(".")[0] or file)


NAME_FORMS: tuple[Callable[[str], str], ...] = (
    str,
    without_suffix,
    file_of,
    lambda name: without_suffix(file_of(name)),
)
"""How a table may call an image: in full, without the suffix, and both without the folders."""


def classes_by_table(table: LabelTable, names: Sequence[str]) -> list[str | None]:
    """The class that a table names for each image, None where it names none.

    All images are called in the same form. Raises ValueError where that is the same for two images.
    """
    below = [name[len(table.folder) :] if name.startswith(table.folder) else "" for name in names]
    best: list[str | None] = [None] * len(names)
    best_form: Callable[[str], str] = str
    for form in NAME_FORMS:
        found = [table.classes.get(form(name)) if name else None for name in below]
        if found.count(None) < best.count(None):
            best, best_form = found, form
    if best_form not in NAME_FORMS[:1]:
        _check_unique(table, (best_form(name) for name, each in zip(below, best, strict=True) if each is not None))
    return best


def _check_unique(table: LabelTable, keys: Iterator[str]) -> None:
    before = set[str]()
    for key in keys:
        if key in before:
            advice = "name their folder with --data.root"
            raise ValueError(f"{printable(key)} in {printable(table.source)} may be any of several images: {advice}")
        before.add(key)
