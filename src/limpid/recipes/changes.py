"""The inverse of `with_changes`: the changes that turn one dataclass into another, by dotted names."""

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from limpid.recipes.serialize import fields_from, to_dict


def changes(old: Any, new: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of `new` that differ from `old`, by dotted names, as plain data; `with_changes` turns `old` into `new`
    with them.

    For a field of another class its name is given, and then the fields that differ from the defaults of that class.
    """
    found: dict[str, Any] = {}
    hints = get_type_hints(type(new))
    for spec in fields(new):
        before, after, name = getattr(old, spec.name), getattr(new, spec.name), f"{prefix}{spec.name}"
        if before == after:
            continue
        if not is_dataclass(after):
            found[name] = to_dict(after, hints[spec.name])
            continue
        if type(before) is not type(after):
            found[name] = to_dict(after, hints[spec.name])["kind"]
            before = type(after)(**fields_from(type(after), None))
        found |= changes(before, after, f"{name}.")
    return found
