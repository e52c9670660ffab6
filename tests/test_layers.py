"""Who may import whom (the two columns, mathematics and the world, meet only in the verbs)."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "limpid"

# A file imports from layers of a lower number; files of one room may import one another, in no circle.
LAYERS = {
    "regular": 0,
    "renamed": 0,
    "terminal": 0,
    "whole": 0,
    "diffusion": 1,
    "nets": 1,
    "data": 1,
    "metrics": 1,
    "pictures": 1,
    "learning": 1,
    "plain": 1,
    "download": 1,
    "timing": 1,
    "recipe": 2,
    "sheets": 2,
    "kept": 2,
    "scores": 2,
    "copying": 2,
    "classifying": 2,
    "recipes": 3,
    "train": 3,
    "sample": 3,
    "given": 3,
    "density": 4,
    "provenance": 4,
    "bench": 4,
    "subjects": 4,
    "gap": 4,
    "evaluate": 5,
    "asked": 6,
    "gauge": 6,
    "show": 4,
    "edit": 4,
    "rehearsal": 5,
    "folder": 7,
    "run": 8,
    "options": 5,
    "verbs": 9,
    "cli": 10,
    "__main__": 11,
}
# Inside the mathematics, and of the rooms that stand beside each other: what each may see of the others.
ORDER = [
    "level",
    "schedules",
    "targets",
    "denoiser",
    "guidance",
    "steps",
    "averages",
    "onestep",
    "multistep",
    "adaptive",
    "samplers",
    "editing",
    "oracle",
    "likelihood",
    "variance",
    "losses",
    "emphasis",
]
SEES = {
    "data": {"data", "learning.rng", "download", "regular", "terminal", "whole"},
    "nets": {"nets"},
    "metrics": {"metrics", "download", "regular", "whole"},
    "pictures": {"pictures", "whole"},
    "learning": {"learning", "regular", "renamed", "terminal", "whole"},
}


def imports(path: Path) -> set[str]:
    """The modules of limpid that a file imports, as `room.file`, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "limpid":
            rest = node.module.removeprefix("limpid").lstrip(".")
            names = [f"{rest}.{alias.name}".lstrip(".") for alias in node.names]
            is_module = [(SOURCE / f"{name.replace('.', '/')}.py").exists() for name in names]
            found |= {name if module else rest for name, module in zip(names, is_module, strict=True)}
    return {name for name in found if name}


def files() -> dict[str, set[str]]:
    """Every file of the package as `room.file`, with what it imports."""
    paths = [path for path in SOURCE.rglob("*.py") if path.name != "__init__.py" or path.parent != SOURCE]
    return {".".join(path.relative_to(SOURCE).with_suffix("").parts): imports(path) for path in paths}


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_file_has_a_layer():
    assert {room(module) for module in files()} == set(LAYERS)


def test_imports_go_down():
    wrong = [
        f"{module} imports {other}"
        for module, others in files().items()
        for other in others
        if room(module) != room(other)
        and LAYERS[room(module)] <= LAYERS[room(other)]
        and not (room(module) in SEES and other in SEES[room(module)])
    ]
    assert wrong == []


def test_rooms_of_the_first_layer_do_not_know_each_other():
    wrong = [
        f"{module} imports {other}"
        for module, others in files().items()
        if room(module) in SEES
        for other in others
        if not any(other == seen or other.startswith(f"{seen}.") for seen in SEES[room(module)])
    ]
    assert wrong == []


def test_the_mathematics_imports_only_what_comes_before_it():
    wrong = []
    for module, others in files().items():
        if room(module) != "diffusion" or module.endswith("__init__"):
            continue
        place = ORDER.index(module.split(".")[1])
        wrong += [
            f"{module} imports {o}" for o in others if room(o) != "diffusion" or ORDER.index(o.split(".")[1]) >= place
        ]
    assert wrong == []


def test_there_are_no_circles():
    graph = files()

    def below(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle of imports: {' -> '.join([*path, module])}"
        for other in graph.get(module, graph.get(f"{module}.__init__", set())):
            below(other, (*path, module))

    for module in graph:
        below(module, ())
