"""Front matter: plain data in YAML at the head of a Markdown file, as the Hub reads it from a model card."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PLAIN_WORD = re.compile(r"[A-Za-z][\w-]*(?:\.\d[\w-]*)*", re.ASCII)
"""What needs no quotes, if it is none of the words below."""
YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"}
"""Words that YAML 1.1 reads as no text."""


def front_matter(values: Mapping[str, Any]) -> str:
    """The lines of YAML between two `---`: tables, lists, text and finite numbers."""
    return "\n".join(["---", *_table_lines(values), "---"])


def _table_lines(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{_scalar(name)}:"
            yield from _table_lines(value, f"{indent}  ")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield f"{indent}{_scalar(name)}:"
            for item in value:
                yield from _item_lines(item, indent)
        else:
            yield f"{indent}{_scalar(name)}: {_scalar(value)}"


def _item_lines(item: Any, indent: str) -> Iterator[str]:
    """An item of a list; a table begins on the line of its dash."""
    if not isinstance(item, Mapping):
        yield f"{indent}- {_scalar(item)}"
        return
    first, *others = _table_lines(item, f"{indent}  ")
    yield f"{indent}- {first.removeprefix(f'{indent}  ')}"
    yield from others


def _scalar(value: str | float) -> str:
    """Text, quoted where YAML would read something else, or a number, which YAML 1.1 wants with a point."""
    if isinstance(value, str):
        bare = PLAIN_WORD.fullmatch(value) and value.lower() not in YAML_WORDS
        return value if bare else json.dumps(value, ensure_ascii=not value.isprintable())
    text = json.dumps(value, allow_nan=False)
    return text.replace("e", ".0e") if "e" in text and "." not in text and not isinstance(value, bool) else text
