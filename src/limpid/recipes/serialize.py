"""Frozen dataclasses to and from plain data (dicts, lists, numbers, strings), as in JSON and TOML.

A member of a union is a dict with its class name under "kind", or that name alone; a class of the user has its package
and module before it. Every mistake is a ValueError with the field, the value that was given and what was expected.
"""

import difflib
import math
import reprlib
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from limpid.recipes.own_classes import class_from_path, class_path
from limpid.storage.renamed import KINDS, with_new_names

MAX_INT = 1 << 63
"""Integers must be smaller, to fit into 64 bits."""
ABBREVIATE = reprlib.Repr()
"""Shows a value in a message: on one line, shortened if it is long or deep."""
ABBREVIATE.maxstring = ABBREVIATE.maxother = 60


def to_dict(value: Any, kind: Any = None) -> Any:
    """Plain data that `from_dict` turns back into `value`; `kind` is the type of the field that holds the value.

    A class that is not a member of the field's union is one of the user, and is named `package.module:Class`. Fields
    that are not compared are omitted. Raises ValueError for a value that a file cannot hold.
    """
    if is_dataclass(value) and not isinstance(value, type):
        members, hints = union_members(kind), get_type_hints(type(value))
        own = members and type(value) not in members.values()
        name = class_path(type(value)) if own else type(value).__name__
        return {"kind": name} | {
            f.name: to_dict(getattr(value, f.name), hints[f.name]) for f in fields(value) if f.compare
        }
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    if isinstance(value, tuple):
        return [to_dict(part) for part in value]
    if value is not None and not isinstance(value, str | int | float | list | dict):
        raise ValueError(
            f"a {type(value).__name__} in a recipe: expected numbers, strings, tuples and frozen dataclasses"
        )
    return value


def from_dict(kind: Any, value: Any, where: str = "recipe", default: Any = None) -> Any:
    """`value` as the type `kind`; fields that are missing are those of `default` if it is of the same class, else the
    class's own."""
    if members := union_members(kind):
        return _from_member(members, value, where, default)
    if isinstance(kind, type) and is_dataclass(kind):
        return _from_fields(kind, value, where, default)
    if get_origin(kind) in (Union, types.UnionType):  # one value, or several
        several = isinstance(value, list | tuple)
        kinds = [one for one in get_args(kind) if (get_origin(one) is tuple) == several]
        words = isinstance(value, str)
        kind = next((one for one in kinds if (get_origin(one) is Literal) == words), kinds[0])
    if get_origin(kind) is tuple:
        return _from_list(get_args(kind), value, where)
    if get_origin(kind) is Literal:
        return _checked(value in get_args(kind), value, where, value, f"one of {', '.join(map(repr, get_args(kind)))}")
    if kind is float:
        value = float(value) if value in ("inf", "-inf") else value
        number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
        number = number and (isinstance(value, float) or abs(value) < MAX_INT)
        return _checked(number, float(value) if number else value, where, value, "a number")
    right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    right = right and (kind is not int or abs(value) < MAX_INT)
    return _checked(right, value, where, value, {int: "a whole number", str: "a string", bool: "true or false"}[kind])


@contextmanager
def errors_name_file(path: Path) -> Iterator[None]:
    """A context in which the message of a ValueError begins with the name of the file that was read."""
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def union_members(kind: Any) -> dict[str, type]:
    """The members of a union of dataclasses by their names; empty for any other type."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()
    return {member.__name__: member for member in members} if all(map(is_dataclass, members)) else {}


def match_choice(what: str, name: str, choices: Iterable[str]) -> str:
    """`name` as it is among `choices`, or the only choice that differs from it in case alone.

    Raises ValueError, with the nearest choice, if there is none, and if several differ in case alone.
    """
    choices = list(choices)
    found = [choice for choice in choices if choice.lower() == name.lower()]
    if name in choices:
        return name
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{what} {ABBREVIATE.repr(name)} may be {' or '.join(found)}: write it in upper and lower case as meant"
        )
    near = difflib.get_close_matches(name.lower()[:100], {c.lower(): c for c in choices}, n=1)
    guess = next((f"; did you mean {c}?" for c in choices if near and c.lower() == near[0]), "")
    raise ValueError(f"no {what} {ABBREVIATE.repr(name)}: choose from {', '.join(choices)}{guess}")


def fields_from(kind: type, current: Any) -> dict[str, Any]:
    """The initial values of the fields of `kind`: those of `current` if it is of exactly this class, else the defaults,
    for fields that have one."""
    if type(current) is kind:
        return {f.name: getattr(current, f.name) for f in fields(kind)}
    plain = {f.name: f.default for f in fields(kind) if f.default is not MISSING}
    return plain | {f.name: f.default_factory() for f in fields(kind) if f.default_factory is not MISSING}


def _checked(right: bool, result: Any, where: str, given: Any, expected: str) -> Any:
    if not right:
        raise ValueError(f"{where} is {ABBREVIATE.repr(given)}: expected {expected}")
    return result


def _from_member(members: dict[str, type], value: Any, where: str, default: Any) -> Any:
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {ABBREVIATE.repr(value)}: expected one of {', '.join(members)}")
    name = value.get("kind", type(default).__name__)
    if not isinstance(name, str) or name == "NoneType":
        raise ValueError(f"{where} needs a kind: choose from {', '.join(members)}")
    if ":" in name:
        return _from_fields(class_from_path(name, members.values(), where), value, where, default)
    member = members[match_choice(where, KINDS.get(name, name), members)]
    return _from_fields(member, value, where, default)


def _from_fields(kind: type, value: Any, where: str, default: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {ABBREVIATE.repr(value)}: expected a table of its fields")
    hints, known = get_type_hints(kind), {f.name: f for f in fields(kind)}
    value = with_new_names(kind.__name__, value)
    given = {match_choice(f"field of {where}", name, known): part for name, part in value.items() if name != "kind"}
    result = fields_from(kind, default)
    for name, part in given.items():
        result[name] = from_dict(hints[name], part, f"{where}.{name}", result.get(name))
    if missing := known.keys() - result.keys():
        raise ValueError(f"{where} needs its field {min(missing)}")
    return kind(**result)


def _from_list(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} is {ABBREVIATE.repr(value)}: expected a list")
    each = (kinds[0],) * len(value) if kinds[-1:] == (...,) else kinds
    if len(each) != len(value):
        raise ValueError(f"{where} is {ABBREVIATE.repr(value)}: expected {len(each)} values")
    return tuple(from_dict(kind, part, f"{where}[{i}]") for i, (kind, part) in enumerate(zip(each, value, strict=True)))
