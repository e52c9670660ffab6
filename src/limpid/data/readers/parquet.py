"""Images in parquet files, as the Hugging Face Hub and `datasets` write them: files of images in a column of bytes.

The rows of a file are read in their order, a few at a time, so that memory does not grow with their number. A folder of
files is one set: their names speak of splits, and their folders of configurations, of which one is read.
"""

import json
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
from limpid.data.readers.listing import ImageListing, LeftOut, Load, OwnSplit
from limpid.data.readers.messages import one_line
from limpid.data.readers.row_names import SPLIT_WORDS, names_and_splits, split_from_name
from limpid.data.readers.scan import decode_bounded
from limpid.runtime.terminal import printable

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "y", "target", "class")
ROWS_AT_ONCE = 64
"""Number of rows that are read at a time."""
BUFFER = 2**16
"""Bytes of a column that are read from the disk at a time."""
MAX_ROWS = 2**27
MAX_FOOTER_BYTES = 2**28


class Columns(NamedTuple):
    """The columns of a table that are read."""

    image: str
    label: str
    """Empty where there is none."""
    class_names: tuple[str, ...]
    """The names of the classes, in the order of their numbers; empty where the table does not give them."""
    others: tuple[str, ...]
    """The columns that are left out."""


class Table(NamedTuple):
    """A parquet file: its name below the root, split and number of rows."""

    path: Path
    name: str
    split: OwnSplit | None
    rows: int


def scan_parquet(root: Path, names: list[str], label: str = "") -> ImageListing:
    """The images of the parquet files called `names` below a folder, or of the file `root` where `names` is [""].

    `label` is the column of the labels; without it, it is found. Raises ValueError for files that cannot be read, and
    for those of several configurations.
    """
    names = sorted(names)
    check_one_configuration(root, names)
    columns, tables, stamps, footers = None, list[Table](), list[str](), list[bytes]()
    for name in names:
        path = root / name
        try:
            status = path.stat()
            with _open(path) as file:
                columns = columns or _columns(file, label)
                if missing := {columns.image, columns.label} - {"", *file.schema_arrow.names}:
                    raise ValueError(f"it has no column {missing.pop()!r}, which other files of the set have")
                if not 0 <= file.metadata.num_rows <= MAX_ROWS:
                    raise ValueError(f"it claims {file.metadata.num_rows:,} rows: expected at most {MAX_ROWS:,}")
                tables.append(Table(path, name, split_from_name(name or root.name), file.metadata.num_rows))
            footers.append(_footer(path))
            stamps.append(f"{name} {status.st_size} {status.st_mtime_ns}")
        except Exception as error:  # pyarrow raises many exceptions for broken files
            raise ValueError(f"cannot read {printable(str(path))}: {one_line(error)}") from error
    assert columns
    labels, classes = _labels(tables, columns)
    rows = sum(table.rows for table in tables)
    row_names, splits = names_and_splits([(table.split, table.rows) for table in tables])
    return ImageListing(
        root,
        row_names,
        labels if classes else np.zeros(rows, np.int64),
        classes,
        " ".join(stamps),
        partial(_loads, tables, columns.image),
        left_out=(LeftOut("other columns", len(columns.others), columns.others[:3]),) if columns.others else (),
        notes=_notes(root, len(tables), columns),
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


def _columns(file: "pyarrow.parquet.ParquetFile", label: str) -> Columns:
    """Which columns of the table are images and labels. Raises ValueError if that is not clear."""
    import pyarrow

    schema = file.schema_arrow
    types = {field.name: field.type for field in schema}
    image_columns = [name for name in types if _is_image(types[name])]
    image = next((name for name in IMAGE_COLUMNS if name in image_columns), None)
    image = image or (image_columns[0] if len(image_columns) == 1 else None)
    listed = ", ".join(f"{name} ({str(kind)[:60]})" for name, kind in types.items())
    if image is None:
        raise ValueError(f"it has no column {' or '.join(IMAGE_COLUMNS)} of files of images: its columns are {listed}")
    names = _class_names(schema)
    candidates = [
        name
        for name, kind in types.items()
        if name != image and (pyarrow.types.is_integer(kind) or pyarrow.types.is_boolean(kind) or _is_word(kind))
    ]
    if label == "none":
        return Columns(image, "", (), tuple(name for name in types if name != image))
    if label and label not in candidates:
        raise ValueError(f"it has no column {label!r} of labels: its columns are {listed}")
    with_names = [name for name in candidates if name in names]
    chosen = label or next((name for name in LABEL_COLUMNS if name in candidates), "")
    if not chosen and len(with_names) > 1:
        example = f"--data.labels {with_names[0]}"
        raise ValueError(f"it has several columns of labels, {', '.join(with_names)}: choose one, as {example}")
    chosen = chosen or next(iter(with_names), "")
    return Columns(image, chosen, names.get(chosen, ()), tuple(name for name in types if name not in (image, chosen)))


def _is_image(kind: "pyarrow.DataType") -> bool:
    """Whether a column holds files: their bytes, or a record with them."""
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return any(field.name == "bytes" and _is_image(field.type) for field in kind)  # pyright: ignore[reportGeneralTypeIssues]
    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)


def _is_word(kind: "pyarrow.DataType") -> bool:
    import pyarrow

    words = pyarrow.types.is_dictionary(kind) and pyarrow.types.is_string(kind.value_type)  # pyright: ignore[reportAttributeAccessIssue]
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or words


def _class_names(schema: "pyarrow.Schema") -> dict[str, tuple[str, ...]]:
    """The names of the classes by column, from what `datasets` writes into the schema: features of type ClassLabel."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: feature for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
        return {name: tuple(map(str, feature["names"])) for name, feature in found.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _labels(tables: list[Table], columns: Columns) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of all rows and the names of the classes; none where there is no column of them."""
    if not columns.label:
        return np.zeros(0, np.int64), ()
    found = []
    for table in tables:
        try:
            with _open(table.path) as file:
                batches = file.iter_batches(ROWS_AT_ONCE * 256, columns=[columns.label], use_threads=False)
                values = [_label_values(batch.column(0), columns.label) for batch in batches]
            if sum(map(len, values)) != table.rows:
                raise ValueError(f"it ends early: expected {table.rows:,} rows")
        except Exception as error:
            raise ValueError(f"cannot read {printable(str(table.path))}: {one_line(error)}") from error
        found += values
    try:
        return classes_from_values(np.concatenate(found), columns.class_names) if found else (np.zeros(0, np.int64), ())
    except ValueError as error:
        raise ValueError(f"cannot read {printable(str(tables[0].path))}: column {columns.label}: {error}") from error


def _label_values(column: "pyarrow.Array", name: str) -> np.ndarray:
    if column.null_count:
        raise ValueError(f"its column {name} has no value in some rows")
    values = column.to_numpy(zero_copy_only=False)
    return values.astype(np.str_) if values.dtype.kind == "O" else values


def _loads(tables: list[Table], image: str, chosen: Bool[np.ndarray, " n"]) -> Iterator[Load]:
    """A reader for each row that the mask selects."""
    ends = np.cumsum([table.rows for table in tables])
    masks = zip(tables, np.split(chosen, ends[:-1]), strict=True)
    return chain.from_iterable(_rows(table, image, mask) for table, mask in masks)


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


def _notes(root: Path, files: int, columns: Columns) -> tuple[str, ...]:
    label = f"labels from the column {columns.label}" if columns.label else "no column of labels"
    many = f"{files:,} parquet files" if files > 1 else "parquet"
    return (f"{many}: images from the column {columns.image}, {label}",)
