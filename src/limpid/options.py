"""Command-line options of frozen data: `--schedule.T 500` sets a field, `--schedule Cosine` chooses a kind.

As in a recipe file the kind that is there already keeps its fields, and another starts from its own defaults.
"""

import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple, TypeVar, get_type_hints

import tyro

from limpid.learning import parallel
from limpid.plain import choose, fields_from, union

Options = TypeVar("Options")

INLINE = tyro.conf.arg(name="")
"""Marks a field whose own fields are options without its name before them."""


class Choice(NamedTuple):
    """An option that chooses a kind: the attributes that lead to it, and the members of its union."""

    attributes: tuple[str, ...]
    members: dict[str, type]


def parse(default: Options, args: Sequence[str], program: str) -> Options:
    """`default` with the options in `args`; a mistake prints its nearest name and exits with code 2."""
    default, rest = _with_kinds(default, args)
    kinds = [f"- {name}  {' | '.join(choice.members)}" for name, choice in choices(default).items()]
    listed = "\n\n" + "\n".join(["Kinds to choose from:", *kinds]) if kinds else ""
    description = (type(default).__doc__ or "") + listed
    config = (tyro.conf.AvoidSubcommands,)
    options = tyro.cli(
        type(default),
        default=default,
        args=rest,
        prog=program,
        description=description,
        config=config,
        console_outputs=parallel.first(),
    )
    if wrong := [name for name, value in numbers(options).items() if math.isnan(value)]:
        raise ValueError(f"{wrong[0]} nan: expected a number")
    return options


def numbers(value: Any, name: str = "--") -> dict[str, float]:
    """Every number in `value` that need not be whole, by the option that sets it."""
    if isinstance(value, float):
        return {name.rstrip("."): value}
    if isinstance(value, tuple):
        return {option: number for part in value for option, number in numbers(part, name).items()}
    found: dict[str, float] = {}
    hints = get_type_hints(type(value), include_extras=True) if is_dataclass(value) else {}
    for field, hint in hints.items():
        inline = INLINE in getattr(hint, "__metadata__", ())
        found |= numbers(getattr(value, field), name if inline else f"{name}{field.replace('_', '-')}.")
    return found


def choices(value: Any, name: str = "--", attributes: tuple[str, ...] = ()) -> dict[str, Choice]:
    """Every option of `value` that chooses a kind, by the option's name."""
    found: dict[str, Choice] = {}
    hints = get_type_hints(type(value), include_extras=True)
    for spec in fields(value):
        hint, inner, here = hints[spec.name], getattr(value, spec.name), (*attributes, spec.name)
        option = name if INLINE in getattr(hint, "__metadata__", ()) else f"{name}{spec.name.replace('_', '-')}"
        if members := union(hint):
            found[option] = Choice(here, members)
        if is_dataclass(inner):
            found |= choices(inner, option if option == name else f"{option}.", here)
    return found


def _with_kinds(default: Options, args: Sequence[str]) -> tuple[Options, list[str]]:
    """`default` with the kinds that `args` choose, and the arguments that are left."""
    rest, queue = [], list(args)
    while queue:
        word = queue.pop(0)
        option, equals, kind = word.partition("=")
        choice = choices(default).get(option.replace("_", "-"))
        if choice is None:
            rest.append(word)
            continue
        if not equals and not queue:
            raise ValueError(f"{option} needs a kind: choose from {', '.join(choice.members)}")
        kind = choose(option.lstrip("-"), kind if equals else queue.pop(0), choice.members)
        default = _with_kind(default, choice.attributes, choice.members[kind])
    return default, rest


def _with_kind(value: Any, attributes: Sequence[str], kind: type) -> Any:
    """`value` with what stands at the end of `attributes` of this kind: as it is if it is already."""
    if not attributes:
        return kind(**fields_from(kind, value))
    first, *others = attributes
    return replace(value, **{first: _with_kind(getattr(value, first), others, kind)})
