"""Which columns of a parquet file are images and labels: by their names, types and what `datasets` writes of them."""

import json
from typing import TYPE_CHECKING, NamedTuple

from limpid.data.readers.listing import NoImagesError

if TYPE_CHECKING:
    import pyarrow

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "y", "target", "class")


class Columns(NamedTuple):
    """The columns of a table that are read."""

    image: str
    label: str
    """Empty where there is none."""
    class_names: tuple[str, ...]
    """The names of the classes, in the order of their numbers; empty where the table does not give them."""
    others: tuple[str, ...]
    """The columns that are left out."""


def columns_of(schema: "pyarrow.Schema", label: str) -> Columns:
    """Which columns of the table are images and labels.

    Raises ValueError if that is not clear, and NoImagesError if none is of images.
    """
    import pyarrow

    types = {field.name: field.type for field in schema}
    image_columns = [name for name in types if _is_image(types[name])]
    image = next((name for name in IMAGE_COLUMNS if name in image_columns), None)
    image = image or (image_columns[0] if len(image_columns) == 1 else None)
    listed = ", ".join(f"{name} ({str(kind)[:60]})" for name, kind in types.items())
    if image is None:
        raise NoImagesError(
            f"it has no column {' or '.join(IMAGE_COLUMNS)} of files of images: its columns are {listed}"
        )
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
