"""What can be imported: prints docs/api.md from the source.

    python docs/api.py > docs/api.md

The names of `limpid` itself come with their signatures and docstrings; of every package the modules are listed, with
their public names.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import limpid

SOURCE = Path(limpid.__file__).parent


def face() -> Iterator[str]:
    """A section for each name of `limpid.__all__`."""
    for name in limpid.__all__:
        value = getattr(limpid, name)
        yield f"### `limpid.{name}`\n"
        if not isinstance(value, ModuleType):
            yield f"```python\n{signature(value)}\n```\n"
        yield f"{inspect.getdoc(value)}\n"
        if inspect.isclass(value):
            yield from methods(value)
        if isinstance(value, ModuleType):
            yield from (f"- `{one.name}`: {first_sentence(one)}" for one in public_names(Path(str(value.__file__))))
            yield ""


def methods(kind: type) -> Iterator[str]:
    """A line for each public method of a class."""
    for name, value in vars(kind).items():
        function = value.fget if isinstance(value, property) else value
        if not name.startswith("_") and inspect.isfunction(function):
            call = "" if isinstance(value, property) else arguments(function)
            yield f"- `.{name}{call}`: {(inspect.getdoc(function) or '').splitlines()[0]}"
    yield ""


def arguments(function: Any) -> str:
    """The parameters of a method with their defaults, without the first (self) and types."""
    signature = inspect.signature(function)
    own = [p.replace(annotation=inspect.Parameter.empty) for p in list(signature.parameters.values())[1:]]
    return str(signature.replace(parameters=own, return_annotation=inspect.Signature.empty))


def signature(value: Any) -> str:
    """The definition of a function or class, as it stands in the source."""
    source = textwrap.dedent(inspect.getsource(value))
    node = ast.parse(source).body[0]
    if isinstance(node, ast.FunctionDef):
        node.body = [ast.Expr(ast.Constant(...))]
        return ast.unparse(node).replace(":\n    ...", "")
    fields = [ast.unparse(part) for part in getattr(node, "body", []) if isinstance(part, ast.AnnAssign)]
    return "\n    ".join([f"class {value.__name__}:", *(fields or ["..."])])


def packages() -> Iterator[str]:
    """A section for each package, with its modules and their public names."""
    for init in sorted(SOURCE.rglob("*/__init__.py")):
        package = ".".join(("limpid", *init.parent.relative_to(SOURCE).parts))
        yield f"### `{package}`\n\n{ast.get_docstring(ast.parse(init.read_text()))}\n"
        for file in sorted(init.parent.glob("*.py")):
            names = ", ".join(f"`{node.name}`" for node in public_names(file))
            if file.name != "__init__.py":
                summary = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0].replace("\n", " ")
                yield f"- **`{file.stem}`**: {summary}{f' {names}.' if names else ''}"
        yield ""


def public_names(file: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes of a file whose names do not begin with an underscore."""
    body = ast.parse(file.read_text()).body
    return [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"]


def first_sentence(node: ast.FunctionDef | ast.ClassDef) -> str:
    """The first line of a docstring."""
    return (ast.get_docstring(node) or "").split("\n")[0]


def page() -> str:
    """All of docs/api.md."""
    head = "# Reference\n\nMade from the source by `python docs/api.py > docs/api.md`.\n"
    return "\n".join([head, "## `import limpid`\n", *face(), "## Packages\n", *packages()]).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
