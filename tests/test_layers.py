"""Who may import whom: a file imports files of its own folder, in no circle, and of folders on lower floors."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "limpid"

FLOORS = {
    "runtime": 1,
    "optim": 1,
    "nets": 1,
    "diffusion": 1,
    "storage": 2,
    "metrics": 3,
    "data": 3,
    "recipes": 4,
    "viz": 5,
    "interop": 5,
    "sampling": 6,
    "evaluation": 7,
    "training": 8,
    "bench": 9,
    "lab": 10,
    "cli": 11,
    "__main__": 12,
}
"""The floor of each folder; folders of one floor do not know each other."""
ORDER = [
    "level",
    "schedule_html",
    "discrete_schedules",
    "continuous_schedules",
    "schedules",
    "targets",
    "denoiser",
    "guidance",
    "samplers.steps",
    "samplers.interpolation",
    "samplers.singlestep",
    "samplers.multistep",
    "samplers.dopri5",
    "samplers",
    "editing",
    "oracle",
    "likelihood",
    "learned_variance",
    "weightings",
    "losses",
    "level_sampling",
]
"""The order of the mathematics: a file imports what comes before it."""


def module_name(path: Path) -> str:
    """`folder.file` of a file of the package; `folder` of its `__init__`."""
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """The modules of limpid that a file imports, as `folder.file`, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "limpid":
            package = node.module.removeprefix("limpid").lstrip(".")
            for alias in node.names:
                file = f"{package}.{alias.name}".lstrip(".")
                place = SOURCE / file.replace(".", "/")
                found.add(file if place.with_suffix(".py").exists() or place.is_dir() else package)
    return {name for name in found if name}


@cache
def files() -> dict[str, set[str]]:
    """Every file of the package, with what it imports."""
    return {module_name(path): imports(path) for path in SOURCE.rglob("*.py") if path.parent != SOURCE} | {
        "__main__": imports(SOURCE / "__main__.py")
    }


def folder(module: str) -> str:
    return module.split(".")[0]


def test_every_folder_has_a_floor():
    assert {folder(module) for module in files()} == set(FLOORS)


def test_imports_go_down():
    wrong = [
        f"{module} imports {other}"
        for module, others in files().items()
        for other in others
        if folder(module) != folder(other) and FLOORS[folder(module)] <= FLOORS[folder(other)]
    ]
    assert wrong == []


def test_the_mathematics_imports_only_what_comes_before_it():
    wrong = [
        f"{module} imports {other}"
        for module, others in files().items()
        if module.startswith("diffusion.")
        for other in others
        if folder(other) != "diffusion"
        or ORDER.index(other.removeprefix("diffusion.")) >= ORDER.index(module.removeprefix("diffusion."))
    ]
    assert wrong == []


def test_there_are_no_circles():
    in_order = tuple(TopologicalSorter(files()).static_order())  # CycleError names the files of a circle
    assert set(in_order) >= set(files())
