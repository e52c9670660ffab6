"""The error message for an unknown option: one line with the option that was probably meant."""

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module

from limpid.cli.foreign_options import ACCEPTED, ANSWERS
from limpid.cli.option_list import possible_options
from limpid.storage.renamed import FIELDS


def unknown_option(name: str, known: Iterable[str], possible: Mapping[str, tuple[str, ...]], program: str) -> str:
    """One line for an option that is not among those `known` to a command; `possible` are the options that the command
    has with some choice of kinds."""
    if answer := ANSWERS.get(name):
        return f"no option {name}: {answer}"
    if now := former_option(name, possible):
        return f"no option {name}: it is {now} since limpid 0.2"
    wanted = (name, *ACCEPTED.get(name, ()))
    if owners := next((possible[option] for option in wanted if option in possible), ()):
        kinds, parent = list(dict.fromkeys(owners)), name.rpartition(".")[0] or name
        if len(kinds) == 1:
            return f"no option {name} here: {kinds[0]} has it; choose that with {parent} {kinds[0]}"
        return f"no option {name} here: {_listed(kinds)} have it; choose one with {parent}"
    if same := [option for option in known if _last_part(option) == _last_part(name)]:
        return f"no option {name}: it is {' or '.join(same)}"
    for option in wanted:
        if others := commands_with(option):
            is_option = f"it is {option}, an option" if option != name else "it is an option"
            return f"no option {name} of {_command(program)}: {is_option} of {_listed(others)}"
    near = difflib.get_close_matches(name, sorted(known), n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return f"no option {name}: {guess}`{_command(program)} --help` lists all"


def former_option(name: str, possible: Mapping[str, tuple[str, ...]]) -> str:
    """The option that had this name in limpid 0.1; empty if there is none."""
    old = _last_part(name)
    for option, owners in possible.items():
        new = _last_part(option)
        if name.removesuffix(old) == option.removesuffix(new) and any(
            FIELDS.get(owner, {}).get(old.replace("-", "_")) == new.replace("-", "_") for owner in owners
        ):
            return option
    return ""


def _last_part(option: str) -> str:
    return option.rpartition(".")[2].lstrip("-")


def commands_with(option: str) -> list[str]:
    """The commands that have an option, as they are typed."""
    found = [program for program, default in all_defaults().items() if option in possible_options(type(default))]
    return list(dict.fromkeys(map(_command, found)))


def _command(program: str) -> str:
    """The words by which a command is called; the formats of `limpid export` have options of their own."""
    words = program.split()
    return " ".join(words[: 3 if words[1:2] == ["export"] else 2])


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def all_defaults() -> dict[str, object]:
    """The options of every form of every command, as if for the default recipe, by what is typed before them."""
    modules = dict.fromkeys(import_module("limpid.cli.main").COMMANDS.values())
    return {
        program: default
        for module in modules
        for program, default in import_module(f"limpid.cli.{module}").default_options().items()
    }
