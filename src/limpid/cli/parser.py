"""Command-line options of frozen data: `--schedule.T 500` sets a field, `--schedule Cosine` chooses a kind.

As in a recipe file the kind that is there already keeps its fields, and another starts from its own defaults.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from inspect import cleandoc
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any, TypeVar

import tyro

from limpid.cli.foreign_kinds import KIND_NAMES, NO_KIND, data_options, kind_word
from limpid.cli.foreign_options import accepted_alias
from limpid.cli.option_list import FLATTEN, list_options, possible_options, union_options
from limpid.cli.option_values import NUMBER, GivenOption, split_words, tyro_words, without_no
from limpid.cli.unknown_option import unknown_option
from limpid.recipes.registry import RECIPES
from limpid.recipes.serialize import fields_from, match_choice
from limpid.runtime import distributed
from limpid.storage.renamed import KINDS

__all__ = ["FLATTEN", "choose_first", "parse", "positional"]

Options = TypeVar("Options")
HELP = ("--help", "-h")


def parse(default: Options, args: Sequence[str], program: str) -> Options:
    """`default` with the options in `args`.

    Raises ValueError, in one line, for an unknown option or a wrong value. Several processes have the same options, so
    only the first of them reports it.
    """
    try:
        return _parse(default, args, program)
    except ValueError:
        if distributed.is_main_process():
            raise
        raise SystemExit(2) from None


def _parse(default: Options, args: Sequence[str], program: str) -> Options:
    possible = possible_options(type(default))
    given = [resolved for option in split_words(args) for resolved in resolve_alias(option, possible)]
    default, given = select_union_members(default, given)
    known, words = list_options(default), []
    for option in given:
        if option.name in HELP:
            words.append("--help")
        elif found := known.get(option.name) or known.get(without_no(option.name)):
            words += tyro_words(option, found)
        else:
            raise ValueError(unknown_option(option.name, known, possible, program))
    return tyro.cli(
        type(default),
        default=default,
        args=words,
        prog=program,
        description=cleandoc(type(default).__doc__ or "") + list_kinds(default),
        config=(tyro.conf.AvoidSubcommands,),
        console_outputs=distributed.is_main_process(),
    )


def gives_option(args: Sequence[str], name: str, default: Any) -> bool:
    """Whether the arguments set this option of `default`, under any of its names."""
    possible = possible_options(type(default))
    return any(accepted_alias(option.name, possible) == name for option in split_words(args))


def list_kinds(default: Any) -> str:
    """The text in the help about options that choose a class."""
    kinds = [f"- {name}  {' | '.join(option.members)}" for name, option in union_options(default).items()]
    head = "Options that choose a kind, each with its kinds; the options of the chosen kinds are below:"
    width = get_terminal_size().columns
    lines = [line for kind in kinds for line in wrap(kind, width, subsequent_indent="    ", break_on_hyphens=False)]
    return "\n\n" + "\n".join([head, *lines]) if kinds else ""


def positional(verb: str, what: str, arguments: Sequence[str], usage: str = "") -> tuple[str, list[str]]:
    """The name that a verb begins with, and the rest. Raises ValueError without one.

    `usage` is what is typed after the verb, where that is not `what` itself.
    """
    if not arguments or arguments[0].startswith("-"):
        names = f" ({', '.join(RECIPES)})" if what == "RECIPE" else ""
        raise ValueError(f"limpid {verb} needs a {what}{names}: limpid {verb} {usage or what} [options]")
    return arguments[0], list(arguments[1:])


def choose_first(verb: str, what: str, word: str, choices: Iterable[str]) -> str:
    """The choice that the first word after a verb names. Raises ValueError for another word, with what to type."""
    names = list(choices)
    try:
        return match_choice(what, word, names)
    except ValueError as error:
        example = "" if "did you mean" in str(error) else f", as in: limpid {verb} {names[0]} {word}"
        raise ValueError(f"{error}{example}") from None


def resolve_alias(given: GivenOption, possible: dict[str, tuple[str, ...]]) -> list[GivenOption]:
    """An option under limpid's name; the name of a kind in diffusers or k-diffusion becomes the options that it means.

    Raises ValueError for the name of a kind that limpid does not have, with the nearest that it has.
    """
    name = accepted_alias(given.name, possible)
    family = name.rpartition(".")[2].lstrip("-")
    word = kind_word(given.values[0]) if len(given.values) == 1 else ""
    if reason := NO_KIND.get(family, {}).get(word):
        raise ValueError(f"no {family} {given.values[0]!r}: {reason}")
    if word not in KIND_NAMES.get(family, {}):
        return [GivenOption(name, given.values)]
    kind, settings = KIND_NAMES[family][word]
    return [GivenOption(name, [kind]), *(GivenOption(f"{name}.{field}", [value]) for field, value in settings.items())]


def select_union_members(default: Options, given: Sequence[GivenOption]) -> tuple[Options, list[GivenOption]]:
    """`default` with the chosen kinds, and the remaining options. Raises ValueError for a word that is no kind."""
    rest = []
    for option in given:
        choice = union_options(default).get(option.name)
        if choice is None:
            rest.append(option)
            continue
        word, *more = option.values or [""]
        if more or not word:
            raise ValueError(f"{option.name} needs a kind: choose from {', '.join(choice.members)}")
        if path := data_options(option.name, word, choice.members):
            word = path.pop(option.name)
            rest += [GivenOption(name, [value]) for name, value in path.items()]
        default = _with_kind(default, choice.attributes, _member(default, option.name, word, choice.members))
    return default, rest


def _member(default: Any, name: str, word: str, members: dict[str, type]) -> type:
    """The kind that an option names. Raises ValueError for another word, with the nearest kind."""
    word, listed = KINDS.get(word, word), ", ".join(members)
    if NUMBER.fullmatch(word):
        fields = [option for option in list_options(default) if option.startswith(f"{name}.")]
        raise ValueError(
            f"{name} {word}: expected a kind ({listed}); options of the kind chosen now: {', '.join(fields) or 'none'}"
        )
    family = name.rpartition(".")[2].lstrip("-")
    near = get_close_matches(kind_word(word), KIND_NAMES.get(family, {}), n=1)
    if near and not get_close_matches(word.lower(), [member.lower() for member in members], n=1):
        raise ValueError(f"no {name.lstrip('-')} {word!r}: choose from {listed}; did you mean {near[0]}?")
    try:
        return members[match_choice(name.lstrip("-"), word, members)]
    except ValueError as error:
        if "Folder" not in members:
            raise
        advice = f"name your images with {name}.root PATH"
        raise ValueError(f"no folder or file {word!r} ({advice}), and {error}") from error


def _with_kind(value: Any, attributes: Sequence[str], kind: type) -> Any:
    """`value` with the field that `attributes` lead to of this kind; a field of this kind already is not changed."""
    if not attributes:
        return kind(**fields_from(kind, value))
    first, *others = attributes
    return replace(value, **{first: _with_kind(getattr(value, first), others, kind)})
