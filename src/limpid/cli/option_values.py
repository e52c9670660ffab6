"""The words of a command line as options with their values, in the form that tyro takes."""

import re
import types
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union, get_args, get_origin

from limpid.recipes.serialize import MAX_INT, match_choice

if TYPE_CHECKING:  # it imports torch, and `limpid lab` reads its options without
    from limpid.cli.option_list import Option

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
"""Units that may follow a number: 512k is 512,000; Ki, Mi and Gi are powers of 1024, as in EDM2."""
NUMBER = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)([kmgb]i?)?", re.IGNORECASE)
SWITCH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


class GivenOption(NamedTuple):
    """An option and the words that follow it."""

    name: str
    values: list[str]


def split_words(words: Sequence[str]) -> list[GivenOption]:
    """The options among the words, each with its values. Raises ValueError for a value that comes before any."""
    given: list[GivenOption] = []
    for word in words:
        if re.match(r"--.|-[A-Za-z]$", word):
            name, equals, value = word.partition("=")
            given.append(GivenOption(name.replace("_", "-"), [value] if equals else []))
        elif given:
            given[-1].values.append(word)
        else:
            raise ValueError(f"unexpected {word!r}: options begin with --, and this command takes no further name")
    return given


def tyro_words(given: GivenOption, option: "Option") -> list[str]:
    """One option as tyro takes it. Raises ValueError for values that are not of its type."""
    name, values, hint = given.name, given.values, option.hint
    if hint is bool:
        return [switch_word(name, values)]
    several = get_origin(hint) is tuple or (
        get_origin(hint) is types.UnionType and any(get_origin(one) is tuple for one in get_args(hint))
    )
    if not several and len(values) != 1:
        found = f"takes one value, but was given {' '.join(values)}" if values else "needs a value"
        raise ValueError(f"{name} {found}")
    kind = get_args(hint)[0] if get_origin(hint) is tuple else hint
    if several and kind is not str:
        values = [part for value in values for part in value.split(",") if part]  # 1,2,2 as in ADM
    return [name, *(checked_value(name, value, kind) for value in values)]


def checked_value(name: str, value: str, kind: Any) -> str:
    """A value as tyro reads it: numbers without a unit. Raises ValueError for one that is not of the type."""
    if kind is int:
        return whole_number(name, value)
    if kind is float:
        return any_number(name, value)
    if get_origin(kind) in (types.UnionType, Union) and int in get_args(kind) and not NUMBER.fullmatch(value):
        kind = next((one for one in get_args(kind) if get_origin(one) is Literal), kind)
    if get_origin(kind) is Literal and all(isinstance(choice, str) for choice in get_args(kind)):
        return match_choice(name.lstrip("-"), value, get_args(kind))
    return value


def whole_number(name: str, text: str) -> str:
    """A whole number, which may have a unit, as digits: 512k is 512000. Raises ValueError for other text."""
    found = NUMBER.fullmatch(text)
    value = Decimal(found[1]) * UNITS[(found[2] or "").lower()] if found else Decimal("nan")
    if not found or value != value.to_integral_value():
        raise ValueError(f"{name} {text}: expected a whole number, like 512, 512k or 1.5M")
    if abs(value) >= MAX_INT:
        raise ValueError(f"{name} {text}: expected a number below 2^63")
    return str(int(value))


def any_number(name: str, text: str) -> str:
    """A number, which may have a unit, as Python reads it. Raises ValueError for other text."""
    found = NUMBER.fullmatch(text)
    if found and found[2]:
        return str(float(Decimal(found[1]) * UNITS[found[2].lower()]))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value:
        raise ValueError(f"{name} {text}: expected a number")
    return text


def switch_word(name: str, values: Sequence[str]) -> str:
    """The word that turns an option on or off, from `--x`, `--no-x`, `--x true` or `--x false`."""
    if len(values) > 1 or (values and values[0].lower() not in SWITCH):
        raise ValueError(f"{name} {' '.join(values)}: expected nothing after it, or true or false")
    positive = without_no(name)
    on = (name == positive) == (not values or SWITCH[values[0].lower()])
    return positive if on else re.sub(r"([^.-][^.]*)$", r"no-\1", positive)


def without_no(name: str) -> str:
    """The option that `--no-x` or `--a.no-x` turns off; any other name as it is."""
    return re.sub(r"((?:^--|\.))no-", r"\1", name)
