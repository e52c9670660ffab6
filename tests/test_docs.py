"""What the pages say about the code is true: their links, paths, names, commands and options exist."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from typing import get_type_hints

import pytest
import test_layers

from limpid.cli.foreign_kinds import KIND_NAMES
from limpid.cli.main import COMMANDS, main
from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.serialize import union_members
from limpid.storage import renamed

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "limpid"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
HISTORY = ("CHANGELOG.md", "LOG.md")
"""Pages that also name what no longer exists."""
CONTINUED = re.compile(r"\\\n\s*")


def quoted(text: str) -> list[str]:
    """What stands in backticks on a page, outside of its blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def commands(text: str) -> list[list[str]]:
    """The commands `limpid ...` in the blocks of code of a page, as words."""
    lines = re.findall(
        r"^(?: {4}|\$ )?(?:torchrun .* -m -- )?(limpid [a-z].*)$", CONTINUED.sub(" ", text), re.MULTILINE
    )
    return [shlex.split(line.split("#")[0]) for line in lines]


@pytest.mark.parametrize("page", TEXTS)
def test_every_link_and_image_exists(page: str):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", TEXTS[page])
    missing = [
        target
        for target in (one or other for one, other in targets)
        if not target.startswith("http") and not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", [page for page in TEXTS if page not in HISTORY])
def test_every_file_that_a_page_quotes_exists(page: str):
    places = (ROOT, SOURCE, SOURCE / "diffusion")
    own = re.compile(r"(?:src|tests|docs|benchmarks|\.ci|" + "|".join(test_layers.FLOORS) + r")/|[\w/]+\.py$")
    named = [word for word in quoted(TEXTS[page]) if FILE.fullmatch(word) and own.match(word)]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


@cache
def defined(file: Path) -> set[str]:
    """The names that a file defines, and `Class.member` of its classes."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            if isinstance(node, ast.ClassDef):
                fields = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
                methods = [part.name for part in node.body if isinstance(part, ast.FunctionDef)]
                names |= {f"{node.name}.{name}" for name in [*methods, *map(ast.unparse, fields)]}
    return names


def test_every_name_that_the_page_on_architecture_quotes_is_in_its_file():
    rows = re.findall(r"^\| `([\w/]+\.py)` \| (.+?) \|", TEXTS["docs/architecture.md"], re.MULTILINE)
    assert len(rows) > 30
    missing = [(file, name) for file, names in rows for name in quoted(names) if name not in defined(SOURCE / file)]
    assert missing == []


def test_the_page_on_architecture_has_every_folder_on_its_floor():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", TEXTS["docs/architecture.md"], re.MULTILINE)
    assert {folder: int(floor) for floor, folder in rows} == {
        folder: floor for folder, floor in test_layers.FLOORS.items() if not folder.startswith("_")
    }


def test_the_page_on_mathematics_names_functions_and_tests_that_exist():
    page = TEXTS["docs/mathematics.md"]
    written = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = {word for word in quoted(page) if word.startswith("test_")}
    assert named
    assert named <= written
    functions = [word.split(".") for word in quoted(page) if re.fullmatch(r"[a-z_]+\.[A-Za-z]\w+", word)]
    missing = [
        (file, name)
        for file, name in functions
        if name != "py" and name not in defined(SOURCE / "diffusion" / f"{file}.py")
    ]
    assert missing == []


def test_the_page_on_runs_names_files_that_the_code_writes():
    source = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    rows = re.findall(r"^\| (`.+?) \|", TEXTS["docs/runs.md"], re.MULTILINE)
    names = [part for row in rows for name in quoted(row) for part in name.strip("/").split("/")]
    assert len(names) > 15
    assert [name for name in names if name not in source and name.removesuffix(".lock") not in source] == []


def unions(kind: type, prefix: str = "--") -> dict[str, set[str]]:
    """The options of a class that choose a kind, with the kinds."""
    hints = get_type_hints(kind)
    return {f"{prefix}{name.replace('_', '-')}": set(union_members(hint)) for name, hint in hints.items()}


def test_the_page_on_recipes_has_every_kind_of_every_option():
    rows = re.findall(r"^\| (`--.+?) \| ([\w, ]+) \|", TEXTS["docs/recipes.md"], re.MULTILINE)
    found = {option: set(kinds.split(", ")) for options, kinds in rows for option in quoted(options)}
    expected = unions(Recipe) | unions(Sampling, "--sampling.")
    expected["--sampling.schedule"].remove("TrainingSchedule")
    expected["--data"].remove("InMemory")  # these two stand for what Python hands over, and are no choice of a command
    expected["--network"].remove("OwnNetwork")
    assert found == {option: kinds for option, kinds in expected.items() if kinds}


def test_the_page_on_recipes_names_samplers_of_other_programs_that_are_accepted():
    rows = re.findall(r"^\| (`[a-z].+?) \| (\w+)(?:,.+)? \|$", TEXTS["docs/recipes.md"], re.MULTILINE)
    assert {kind for _, kind in rows} == set(union_members(get_type_hints(Sampling)["sampler"]))
    assert all(KIND_NAMES["sampler"][name][0] == kind for names, kind in rows for name in quoted(names))


def test_the_changelog_has_every_kind_that_was_renamed():
    rows = re.findall(r"^\| (\w+) \| (\w+) \|$", TEXTS["CHANGELOG.md"], re.MULTILINE)
    assert dict(rows) == renamed.KINDS


def test_the_changelog_has_every_option_of_a_recipe_that_was_renamed():
    classes = ("Recipe", "UNet", "DiT", "AdamW", "Ema", "Every", "Sampling", "Guidance")
    pairs = [pair for name in classes for pair in renamed.FIELDS[name].items()]
    rows = [row for row in TEXTS["CHANGELOG.md"].splitlines() if row.startswith("| `--")]

    def in_one_row(old: str, new: str) -> bool:
        words = [re.compile(rf"[-.]{name.replace('_', '-')}\b") for name in (old, new)]
        return any(all(map(re.search, words, row.split("|")[1:3])) for row in rows)

    assert [pair for pair in pairs if not in_one_row(*pair)] == []


def test_the_options_of_the_commands_on_a_page_exist(capsys: pytest.CaptureFixture[str], monkeypatch):
    """Each command is given `--help` besides: its help lists every option that it uses."""
    monkeypatch.setenv("COLUMNS", "200")
    unknown = []
    for page, text in TEXTS.items():
        for words in [] if page in HISTORY else commands(text):
            options = {word.split("=")[0] for word in words if word.startswith("--")} - {"--help"}
            if options:
                assert exit_code([*with_a_model_that_exists(words[1:]), "--help"]) == 0
                listed = set(re.findall(r"--[\w.-]+", capsys.readouterr().out))
                unknown += [(page, " ".join(words), option) for option in options - listed]
            else:
                assert words[1] in COMMANDS, (page, words)
    assert unknown == []


def exit_code(arguments: list[str]) -> int | str | None:
    try:
        return main(arguments)
    except SystemExit as error:
        return error.code


def with_a_model_that_exists(words: list[str]) -> list[str]:
    """The words of a command, its run folder replaced by a model that comes with limpid."""
    at = 2 if words[0] in ("edit", "show", "export") else 1
    known = words[at].startswith("cifar10") or words[at] in ("demo", "small")
    return [*words[:at], words[at] if known else "cifar10-small", *words[at + 1 :]]
