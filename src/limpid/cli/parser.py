"""Command-line options of frozen data: `--schedule.T 500` sets a field, `--schedule Cosine` chooses a kind.

As in a recipe file the kind that is there already keeps its fields, and another starts from its own defaults.
"""

import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple, TypeVar, get_type_hints

import tyro

from limpid.recipes.registry import RECIPES
from limpid.recipes.serialize import fields_from, match_choice, union_members
from limpid.runtime import distributed

Options = TypeVar("Options")

FLATTEN = tyro.conf.arg(name="")
"""Marks a field whose own fields are options without its name before them."""
ALIASES = {
    "-n": "--num-samples",
    "--n": "--num-samples",
    "--images": "--duration",
    "--batch": "--batch-size",
    "--outdir": "--run",
    "--cond": "--class-conditional",
    "--prediction": "--target",
    "--lr": "--optimizer.lr",
    "--gnet": "--guidance-model",
    "--detector": "--features",
    "--ref": "--reference",
}
"""Other names of options, those of EDM, ADM and diffusers among them, that are accepted where they are not an option's
own."""


class UnionOption(NamedTuple):
    """An option that chooses a kind: the attributes that lead to it, and the members of its union."""

    attributes: tuple[str, ...]
    members: dict[str, type]


def parse(default: Options, args: Sequence[str], program: str) -> Options:
    """`default` with the options in `args`; a mistake prints its nearest name and exits with code 2."""
    default, rest = select_union_members(default, resolve_aliases(default, args))
    kinds = [f"- {name}  {' | '.join(choice.members)}" for name, choice in union_options(default).items()]
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
        console_outputs=distributed.is_main_process(),
    )
    if wrong := [name for name, value in numbers(options).items() if math.isnan(value)]:
        raise ValueError(f"{wrong[0]} nan: expected a number")
    return options


def positional(verb: str, what: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The name that a verb begins with, and the rest. Raises ValueError without one."""
    if not arguments or arguments[0].startswith("-"):
        names = f" ({', '.join(RECIPES)})" if what == "RECIPE" else ""
        raise ValueError(f"limpid {verb} needs a {what}{names}: limpid {verb} {what} [options]")
    return arguments[0], list(arguments[1:])


def resolve_aliases(default: Any, args: Sequence[str]) -> list[str]:
    """The arguments with each alias replaced by the option of `default` that it stands for."""
    known, resolved = option_names(default), []
    for word in args:
        given, equals, value = word.partition("=")
        option = given.replace("_", "-") if given.startswith("--") else given
        meant = ALIASES.get(option, "")
        resolved.append(f"{meant}{equals}{value}" if option not in known and meant in known else word)
    return resolved


def option_names(value: Any, name: str = "--") -> set[str]:
    """Every option of `value`."""
    names: set[str] = set()
    hints = get_type_hints(type(value), include_extras=True)
    for spec in fields(value):
        inner, flat = getattr(value, spec.name), FLATTEN in getattr(hints[spec.name], "__metadata__", ())
        option = name if flat else f"{name}{spec.name.replace('_', '-')}"
        names |= {option} | (option_names(inner, option if flat else f"{option}.") if is_dataclass(inner) else set())
    return names


def numbers(value: Any, name: str = "--") -> dict[str, float]:
    """Every number in `value` that need not be whole, by the option that sets it."""
    if isinstance(value, float):
        return {name.rstrip("."): value}
    if isinstance(value, tuple):
        return {option: number for part in value for option, number in numbers(part, name).items()}
    found: dict[str, float] = {}
    hints = get_type_hints(type(value), include_extras=True) if is_dataclass(value) else {}
    for field, hint in hints.items():
        inline = FLATTEN in getattr(hint, "__metadata__", ())
        found |= numbers(getattr(value, field), name if inline else f"{name}{field.replace('_', '-')}.")
    return found


def union_options(value: Any, name: str = "--", attributes: tuple[str, ...] = ()) -> dict[str, UnionOption]:
    """Every option of `value` that chooses a kind, by the option's name."""
    found: dict[str, UnionOption] = {}
    hints = get_type_hints(type(value), include_extras=True)
    for spec in fields(value):
        hint, inner, here = hints[spec.name], getattr(value, spec.name), (*attributes, spec.name)
        option = name if FLATTEN in getattr(hint, "__metadata__", ()) else f"{name}{spec.name.replace('_', '-')}"
        if members := union_members(hint):
            found[option] = UnionOption(here, members)
        if is_dataclass(inner):
            found |= union_options(inner, option if option == name else f"{option}.", here)
    return found


def select_union_members(default: Options, args: Sequence[str]) -> tuple[Options, list[str]]:
    """`default` with the kinds that `args` choose, and the arguments that are left."""
    rest, queue = [], list(args)
    while queue:
        word = queue.pop(0)
        option, equals, kind = word.partition("=")
        choice = union_options(default).get(option.replace("_", "-"))
        if choice is None:
            rest.append(word)
            continue
        if not equals and not queue:
            raise ValueError(f"{option} needs a kind: choose from {', '.join(choice.members)}")
        kind = match_choice(option.lstrip("-"), kind if equals else queue.pop(0), choice.members)
        default = _with_kind(default, choice.attributes, choice.members[kind])
    return default, rest


def _with_kind(value: Any, attributes: Sequence[str], kind: type) -> Any:
    """`value` with what stands at the end of `attributes` of this kind: as it is if it is already."""
    if not attributes:
        return kind(**fields_from(kind, value))
    first, *others = attributes
    return replace(value, **{first: _with_kind(getattr(value, first), others, kind)})
