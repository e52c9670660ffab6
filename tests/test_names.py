"""Names are the field's: a public one is defined once, a function is no bare participle, an image is an image."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "limpid"
PER_COMMAND = {"main", "default_options"}
"""Functions that every command has."""
PARTICIPLES = re.compile(r"[a-z]+ed$|asked$|drawn$|made$|kept$|known$|told$|seen$|shown$|written$|given$|found$|taken$")
NOT_PARTICIPLES = {"seed", "speed", "expected", "embed", "stratified"}
"""Nouns, and the adjective that the field calls a sample by."""
WORD = "picture"
WITH_THE_WORD = dict.fromkeys(
    ("sampling/sample.py", "onnx_files/draw.py"),
    "the address of the noise of a sample, whose change would change every image",
)


def definitions(path: Path) -> Iterator[str]:
    """The public names that a file defines at its top level."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        yield from (name for name in names if not name.startswith("_"))


def test_a_public_name_is_defined_once():
    places: dict[str, set[str]] = defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        for name in definitions(path):
            places[name].add(path.relative_to(SOURCE).as_posix())
    twice = {name: sorted(files) for name, files in places.items() if len(files) > 1 and name not in PER_COMMAND}
    assert twice == {}


def test_no_function_is_a_bare_participle():
    wrong = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and PARTICIPLES.fullmatch(node.name) and node.name not in NOT_PARTICIPLES
        if not {ast.unparse(one) for one in node.decorator_list} & {"property", "cached_property"}
    ]
    assert wrong == []


def test_an_image_is_called_an_image():
    files = [
        path
        for folder in ("src", "tests", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".ipynb", ".toml")
    ]
    files += [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "pyproject.toml"]
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in files
        if path != Path(__file__) and not any(path.as_posix().endswith(allowed) for allowed in WITH_THE_WORD)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if WORD in line.lower()
    ]
    assert wrong == []
