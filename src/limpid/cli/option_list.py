"""The options that a frozen dataclass gives a command: one for each field, `--schedule.T` for a field of a field."""

from dataclasses import fields, is_dataclass
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import tyro

from limpid.recipes.schema import FROM_PYTHON
from limpid.recipes.serialize import union_members

FLATTEN = tyro.conf.arg(name="")
"""Marks a field whose own fields become options without a prefix."""


class Option(NamedTuple):
    """One option: the type of its value, its default, and the attributes that lead to the field it sets."""

    hint: Any
    value: Any
    attributes: tuple[str, ...]

    @property
    def members(self) -> dict[str, type]:
        """The kinds that it chooses from, by name; empty if it does not choose a kind."""
        return {name: kind for name, kind in union_members(self.hint).items() if kind not in FROM_PYTHON}


def list_options(value: Any, prefix: str = "--", attributes: tuple[str, ...] = ()) -> dict[str, Option]:
    """Every option of a dataclass instance, by its name."""
    found: dict[str, Option] = {}
    hints = get_type_hints(type(value), include_extras=True)
    for spec in fields(value):
        hint, inner, path = hints[spec.name], getattr(value, spec.name), (*attributes, spec.name)
        flat = _is_flat(hint)
        option = prefix if flat else f"{prefix}{spec.name.replace('_', '-')}"
        if union_members(hint) or not is_dataclass(inner):
            found[option] = Option(hint, inner, path)
        if is_dataclass(inner):
            found |= list_options(inner, option if flat else f"{option}.", path)
    return found


def union_options(value: Any) -> dict[str, Option]:
    """The options of a dataclass instance that choose a kind, by name."""
    return {name: option for name, option in list_options(value).items() if option.members}


def possible_options(kind: Any, prefix: str = "--", inside: tuple[type, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Every option that a dataclass has with some choice of kinds, and the names of the kinds that have it."""
    found: dict[str, tuple[str, ...]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        flat = _is_flat(hint)
        option = prefix if flat else f"{prefix}{name.replace('_', '-')}"
        plain: Any = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        kinds: list[Any] = list(union_members(plain).values()) or ([plain] if is_dataclass(plain) else [])
        if union_members(plain) or not kinds:
            found[option] = (*found.get(option, ()), kind.__name__)
        for inner in kinds:
            if inner not in inside:
                for deeper, owners in possible_options(
                    inner, option if flat else f"{option}.", (*inside, inner)
                ).items():
                    found[deeper] = (*found.get(deeper, ()), *owners)
    return found


def _is_flat(hint: Any) -> bool:
    return FLATTEN in getattr(hint, "__metadata__", ())
