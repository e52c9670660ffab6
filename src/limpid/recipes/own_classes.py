"""The user's own schedule, target, weighting or sampler in a recipe: a file names the class as `package.module:Class`.

The name is looked up in the modules that the program has imported already: a file never causes an import.
"""

import sys
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any


def class_path(kind: type) -> str:
    """`package.module:Class`. Raises ValueError for a class that is defined in a function, which has no such name."""
    if "<locals>" in kind.__qualname__:
        raise ValueError(f"{kind.__qualname__} is defined in a function: move it to the top of a module, to save it")
    return f"{kind.__module__}:{kind.__qualname__}"


def class_from_path(path: str, members: Iterable[type], where: str) -> type:
    """The class of this name: a frozen dataclass with the methods that all `members` have, and so usable like them.

    Raises ValueError, with the module to import, if the program has not imported it, and for any other class."""
    module, _, name = path.partition(":")
    found: Any = sys.modules.get(module)
    if found is None:
        raise ValueError(f"{where} is {path}: import {module} first, for a file never causes an import")
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise ValueError(f"{where} is {path}: {module} has no class {name}; define it there first")
    if not is_dataclass(found) or not found.__dataclass_params__.frozen:  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(f"{where} is {path}: expected a frozen dataclass")
    if missing := sorted(required_methods(members) - set(dir(found))):
        raise ValueError(f"{where} is {path}: expected a class with {', '.join(missing)}")
    return found


def required_methods(members: Iterable[type]) -> set[str]:
    """The methods that every one of these classes defines."""
    methods = [
        {name for name in dir(member) if callable(getattr(member, name)) and (name[0] != "_" or name == "__call__")}
        for member in members
    ]
    return set.intersection(*methods)
