"""Images in parquet files, as the Hugging Face Hub and `datasets` write them: files of images in a column of bytes.

The rows of a file are read in their order, a few at a time, so that memory does not grow with their number. A folder of
files is one set: their names speak of splits, and their folders of configurations, of which one is read.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool

from limpid.data.fingerprint import fingerprint_of_arrays
from limpid.data.readers.fit import DecodedImage, ImageSpec
from limpid.data.readers.label_values import classes_from_values
from limpid.data.readers.listing import ImageListing, LeftOutCounter, Load, NoImagesError, OwnSplit
from limpid.data.readers.messages import one_line
from limpid.data.readers.parquet_columns import Columns, columns_of
from limpid.data.readers.row_names import SPLIT_WORDS, names_and_splits, split_from_name
from limpid.data.readers.scan import decode_bounded
from limpid.runtime.terminal import printable

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

ROWS_AT_ONCE = 64
"""Number of rows that are read at a time."""
BUFFER = 2**16
"""Bytes of a column that are read from the disk at a time."""
NO_LABEL = -1
"""The number of no class, as `datasets` writes it."""
MAX_ROWS = 2**27
MAX_FOOTER_BYTES = 2**28


class Table(NamedTuple):
    """A parquet file: its name below the root, split and number of rows."""

    path: Path
    name: str
    split: OwnSplit | None
    rows: int


class LabelledTable(NamedTuple):
    """A parquet file with its labels."""

    table: Table
    values: np.ndarray | None
    """The label of each row; None where the rows have none."""
    mask: Bool[np.ndarray, " rows"] | None
    """The rows that are read; None for all."""

    @property
    def num_rows(self) -> int:
        """Number of rows that are read."""
        return self.table.rows if self.mask is None else int(self.mask.sum())

    def rows(self) -> 'Bool[np.ndarray, " rows"] | slice':
        """Which rows are read, as an index."""
        return slice(None) if self.mask is None else self.mask

    def spread(self, chosen: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " rows"]:
        """A mask of all rows, from one of those that are read."""
        if self.mask is None:
            return chosen
        spread = np.zeros_like(self.mask)
        spread[self.mask] = chosen
        return spread


def scan_parquet(root: Path, names: list[str], label: str = "") -> ImageListing:
    """The images of the parquet files called `names` below a folder, or of the file `root` where `names` is [""].

    `label` is the column of the labels; without it, it is found. Raises NoImagesError for a file without a column of
    images, and ValueError for files that cannot be read, and for those of several configurations.
    """
    names = sorted(names)
    check_one_configuration(root, names)
    columns, tables, stamps, footers = None, list[Table](), list[str](), list[bytes]()
    for name in names:
        path = root / name
        try:
            status = path.stat()
            with _open(path) as file:
                columns = columns or columns_of(file.schema_arrow, label)
                if missing := {columns.image, columns.label} - {"", *file.schema_arrow.names}:
                    raise ValueError(f"it has no column {missing.pop()!r}, which other files of the set have")
                if not 0 <= file.metadata.num_rows <= MAX_ROWS:
                    raise ValueError(f"it claims {file.metadata.num_rows:,} rows: expected at most {MAX_ROWS:,}")
                tables.append(Table(path, name, split_from_name(name or root.name), file.metadata.num_rows))
            footers.append(_footer(path))
            stamps.append(f"{name} {status.st_size} {status.st_mtime_ns}")
        except Exception as error:  # pyarrow raises many exceptions for broken files
            kind = NoImagesError if isinstance(error, NoImagesError) else ValueError
            raise kind(f"cannot read {printable(str(path))}: {one_line(error)}") from error
    assert columns
    left_out = LeftOutCounter()
    for other in columns.others:
        left_out.add("other columns", other)
    labelled = _labelled(tables, columns, left_out)
    labels, classes = _classes(labelled, columns)
    rows = sum(each.num_rows for each in labelled)
    row_names, splits = names_and_splits([(each.table.split, each.num_rows) for each in labelled])
    return ImageListing(
        root,
        row_names,
        labels,
        classes,
        " ".join(stamps),
        partial(_loads, labelled, columns.image),
        left_out=left_out.records(),
        notes=_notes(len(tables), columns, classes),
        splits=splits,
        content=fingerprint_of_arrays(rows, *footers),
    )


def check_one_configuration(root: Path, names: list[str]) -> None:
    """Raise ValueError if the files are of several sets, each in a folder of its own, as configurations of the Hub."""
    found: dict[tuple[str, ...], str] = {}
    for name in names:
        folders = tuple(part for part in name.split("/")[:-1] if part != "data" and part.lower() not in SPLIT_WORDS)
        found.setdefault(folders, "/".join(folders))
    if len(found) > 1:
        choices = ", ".join(sorted(map(printable, found.values()))[:8])
        example = printable(str(root / max(found.values())))
        raise ValueError(f"{printable(str(root))} has several sets: {choices}: name one, as --data.root {example}")


def _open(path: Path) -> "pyarrow.parquet.ParquetFile":
    """A parquet file whose columns are read piece by piece."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("parquet is read by pyarrow: pip install 'limpid-diffusion[parquet]'") from error
    return pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)


def _label_columns(tables: list[Table], label: str) -> list[np.ndarray]:
    """The values of the column of labels of each table."""
    found = []
    for table in tables:
        try:
            with _open(table.path) as file:
                batches = file.iter_batches(ROWS_AT_ONCE * 256, columns=[label], use_threads=False)
                values = [_label_values(batch.column(0), label) for batch in batches]
            if sum(map(len, values)) != table.rows:
                raise ValueError(f"it ends early: expected {table.rows:,} rows")
        except Exception as error:
            raise ValueError(f"cannot read {printable(str(table.path))}: {one_line(error)}") from error
        found.append(np.concatenate(values) if values else np.zeros(0, np.int64))
    return found


def _labelled(tables: list[Table], columns: Columns, left_out: LeftOutCounter) -> list[LabelledTable]:
    """The tables with their labels, without the rows that have none: -1 where the classes have names.

    Where no row has a label, all rows are read, without labels.
    """
    if not columns.label:
        return [LabelledTable(table, None, None) for table in tables]
    values = _label_columns(tables, columns.label)
    known = [column != NO_LABEL if columns.class_names and column.dtype.kind == "i" else None for column in values]
    if all(mask is not None and not mask.any() for mask in known):
        return [LabelledTable(table, None, None) for table in tables]
    for table, mask in zip(tables, known, strict=True):
        name, advice = table.split or table.name, "--data.labels none reads them"
        for row in np.flatnonzero(~mask).tolist() if mask is not None else ():
            left_out.add(f"images of {name} without a label (-1): {advice}", f"{table.name or name} row {row}")
    found = [LabelledTable(*each) for each in zip(tables, values, known, strict=True)]
    return [each for each in found if each.mask is None or each.mask.any()]


def _classes(tables: list[LabelledTable], columns: Columns) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of all rows that are read and the names of the classes; none where they have no labels."""
    values = [each.values[each.rows()] for each in tables if each.values is not None]
    if not values:
        return np.zeros(sum(each.num_rows for each in tables), np.int64), ()
    try:
        return classes_from_values(np.concatenate(values), columns.class_names)
    except ValueError as error:
        path = printable(str(tables[0].table.path))
        raise ValueError(f"cannot read {path}: column {columns.label}: {error}") from error


def _label_values(column: "pyarrow.Array", name: str) -> np.ndarray:
    if column.null_count:
        raise ValueError(f"its column {name} has no value in some rows")
    values = column.to_numpy(zero_copy_only=False)
    return values.astype(np.str_) if values.dtype.kind == "O" else values


def _loads(tables: list[LabelledTable], image: str, chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
    """A reader for each row that the mask selects."""
    ends = np.cumsum([each.num_rows for each in tables])
    masks = zip(tables, np.split(chosen, ends[:-1]), strict=True)
    return chain.from_iterable(_rows(each.table, image, each.spread(mask)) for each, mask in masks)


def _rows(table: Table, image: str, chosen: Bool[np.ndarray, " rows"]) -> Iterator[Load]:
    try:
        with _open(table.path) as file:
            start = 0
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=[image], use_threads=False):
                wanted = chosen[start : start + len(batch)]
                start += len(batch)
                for index in np.flatnonzero(wanted).tolist():
                    yield partial(_decode_row, batch.column(0)[index].as_py())
            if start != table.rows:
                raise ValueError(f"it ends early: expected {table.rows:,} rows")
    except Exception as error:  # pyarrow raises many exceptions for broken files
        raise ValueError(f"cannot read {printable(str(table.path))}: {one_line(error)}") from error


def _decode_row(value: "bytes | dict[str, object] | None", spec: ImageSpec) -> DecodedImage:
    """The image in a row. Raises ValueError if the row has no bytes, or they are no image."""
    blob = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(blob, bytes):
        return decode_bounded(blob, spec)
    path = value.get("path") if isinstance(value, dict) else None
    raise ValueError(f"this row has no bytes of an image{f', only the path {str(path)[:200]!r}' if path else ''}")


def _footer(path: Path) -> bytes:
    """The description at the end of a file, with the sizes and places of all its pages: it identifies the file."""
    with path.open("rb") as file:
        file.seek(-8, 2)
        size = min(int.from_bytes(file.read(4), "little"), MAX_FOOTER_BYTES, path.stat().st_size - 8)
        file.seek(-8 - size, 2)
        return file.read(size)


def _notes(files: int, columns: Columns, classes: tuple[str, ...]) -> tuple[str, ...]:
    labels = f"labels from the column {columns.label}" if columns.label else "no column of labels"
    if columns.label and not classes:
        labels = f"no labels, since the column {columns.label} is -1 in all rows"
    many = f"{files:,} parquet files" if files > 1 else "parquet"
    return (f"{many}: images from the column {columns.image}, {labels}",)
