"""The types of a frozen dataclass as plain data, from which a form is made; `from_dict` turns the filled-in form into
the dataclass."""

import ast
import inspect
import textwrap
import types
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from limpid.data import InMemory
from limpid.nets import OwnNetwork
from limpid.recipes.serialize import fields_from, to_dict, union_members

FROM_PYTHON = (InMemory, OwnNetwork)
"""Classes that hold Python objects, which neither a command line nor a form can give."""
PLAIN = {bool: "bool", int: "int", float: "float", str: "text"}


def schema(kind: Any) -> dict[str, Any]:
    """The type of a value: "struct" with its fields, "union" with its members by name, "choice" with its choices,
    "list" with the type of an item, or "bool", "int", "float", "text".

    Fields and kinds come with their documentation, which is that of the class for a field without its own; fields with
    their default as `to_dict` writes it.
    """
    if members := union_members(kind):
        described = {name: schema(member) for name, member in members.items() if member not in FROM_PYTHON}
        return {"type": "union", "members": described}
    if isinstance(kind, type) and is_dataclass(kind):
        return _struct(kind)
    if get_origin(kind) in (Union, types.UnionType):  # one value, or several
        kind = next((one for one in get_args(kind) if get_origin(one) is tuple), get_args(kind)[0])
    if get_origin(kind) is tuple:
        return {"type": "list", "item": schema(get_args(kind)[0])}
    if get_origin(kind) is Literal:
        return {"type": "choice", "choices": list(get_args(kind))}
    return {"type": PLAIN[kind]}


def _struct(kind: type) -> dict[str, Any]:
    hints, defaults, docs = get_type_hints(kind), fields_from(kind, None), field_docs(kind)
    described = [
        {"doc": ""}
        | schema(hints[spec.name])
        | {"name": spec.name}
        | ({"doc": docs[spec.name]} if spec.name in docs else {})
        | ({"default": to_dict(defaults[spec.name], hints[spec.name])} if spec.name in defaults else {})
        for spec in fields(kind)
        if spec.compare
    ]
    return {"type": "struct", "kind": kind.__name__, "doc": inspect.getdoc(kind) or "", "fields": described}


@cache
def field_docs(kind: type) -> dict[str, str]:
    """The strings below the fields of a dataclass, inherited ones too, which document them."""
    classes = [base for base in reversed(kind.__mro__) if is_dataclass(base)]
    definitions = [ast.parse(textwrap.dedent(inspect.getsource(base))).body[0] for base in classes]
    return {
        field.target.id: inspect.cleandoc(text.value.value).replace("\n", " ")
        for definition in definitions
        if isinstance(definition, ast.ClassDef)
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
