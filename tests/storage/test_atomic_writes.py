"""Every file is written atomically: the source is searched for writes of another kind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from limpid.cli.sample import Sample, output_names, save_outputs
from limpid.recipes.recipe import Sampling
from limpid.sampling.samples import Samples

SOURCE = Path(__file__).parents[2] / "src" / "limpid"
ATOMIC = {"atomic_write", "durable_write", "_renamed"}
WRITERS = {"write_text", "write_bytes", "savez", "savez_compressed", "savetxt", "save", "save_file", "savefig", "dump"}
WRITERS |= {"touch", "copy", "copyfile", "copytree", "tofile", "open", "open_unlinked"}
ELSEWHERE = {
    "storage/checkpoint.py": {"_write": "gets the name beside the file from `save`"},
    "storage/lock.py": {"exclusive": "a lock is held, not written atomically", "waiting_lock": "a lock"},
    "storage/jsonl.py": {"append": "lines are added to a log, all of them or none"},
    "runtime/distributed.py": {"distributed_session": "to nowhere"},
    "runtime/output.py": {"discard_unwritten": "to nowhere"},
    "data/readers/pack.py": {
        "write_pack": "the folder takes its name when all of it is written",
        "write_pixels": "the folder takes its name when all of it is written",
    },
    "sampling/samples.py": {"_repr_png_": "to memory"},
    "storage/download.py": {"save_response": "gets the name beside the file from its callers"},
    "interop/onnx_files/draw.py": {"main": "is a program of its own, which runs without limpid"},
    "data/readers/arrays.py": {"_rows": "copies an array"},
}
"""The functions that write files in another way, and why they may."""
OWN = {"checkpoint", "checkpoints", "Checkpoints", "samples", "self"}
"""A module, callbacks of a run, and samples, whose `save` is limpid's own and read here as well."""


def writes(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a file, with the line, that write to a path which no atomic writer gave."""
    tree = ast.parse(path.read_text())
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        given = parts(function)
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if is_write(call) and not given & names(call):
                yield function.name, call.lineno


def parts(function: ast.FunctionDef) -> set[str]:
    """The names that `with atomic_write(...) as part` and the like give, and those opened from them."""
    found: set[str] = set()
    for node in (node for node in ast.walk(function) if isinstance(node, ast.With)):
        for item in node.items:
            made = {called(call) for call in ast.walk(item.context_expr) if isinstance(call, ast.Call)} & ATOMIC
            if isinstance(item.optional_vars, ast.Name) and (made or names(item.context_expr) & found):
                found.add(item.optional_vars.id)
    return found


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def is_write(call: ast.Call) -> bool:
    """Whether a call writes a file: by the name of what is called, and of `open` by its mode."""
    name, function = called(call), call.func
    value = function.value if isinstance(function, ast.Attribute) else None
    owner = value.id if isinstance(value, ast.Name) else called(value) if isinstance(value, ast.Call) else ""
    if name not in WRITERS or owner in OWN:
        return False
    if name == "open_unlinked":
        return True
    if name == "open":
        given = [*call.args, *(word.value for word in call.keywords)]
        modes = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        flags = {node.attr for one in given for node in ast.walk(one) if isinstance(node, ast.Attribute)}
        return any(set(mode) & set("wax+") and len(mode) <= 3 for mode in modes) or bool(flags & {"O_WRONLY", "O_RDWR"})
    return isinstance(function, ast.Attribute) or name == "save_file"


def test_every_file_is_written_by_the_atomic_writer():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        where = path.relative_to(SOURCE).as_posix()
        allowed = {"fsync"} if where == "storage/atomic.py" else set(ELSEWHERE.get(where, {}))
        wrong += [f"{where}:{line} in {name}" for name, line in writes(path) if name not in allowed]
    assert wrong == []


def test_the_exceptions_for_other_writers_are_needed():
    """A function that is gone, or that is written anew, needs no leave any more."""
    for where, functions in ELSEWHERE.items():
        assert set(functions) == {name for name, _ in writes(SOURCE / where)}


@pytest.mark.parametrize(
    "text",
    [
        "Path(x).write_text('a')",
        "np.savez(x, a=1)",
        "open(x, 'w')",
        "x.open(mode='ab')",
        "image.save(x)",
        "os.open(x, os.O_WRONLY | os.O_CREAT)",
        "shutil.copy(x, y)",
        "with other(x) as part: part.write_text('a')",
    ],
)
def test_the_search_finds_a_file_written_without_the_atomic_writer(text: str, tmp_path: Path):
    file = tmp_path / "a.py"
    file.write_text(f"def f():\n    {text}\n")
    assert len(list(writes(file))) == 1
    file.write_text(
        "def f():\n    with atomic_write(x) as part, part.open('wb') as file:\n        np.savez(file, a=1)\n"
    )
    assert list(writes(file)) == []


def test_arrays_that_could_not_be_written_leave_the_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pixels = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    options = Sample(tmp_path, Sampling(), npz=True)
    files = output_names(options)
    arrays = save_outputs(Samples(pixels, None, (0, 1)), options, files)[-1]
    before = arrays.read_bytes()

    def half(file, **_: object) -> None:
        file.write(b"PK half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", half)
        with pytest.raises(OSError, match="No space left"):
            save_outputs(Samples(pixels + 1, None, (0, 1)), options, files)
    assert arrays.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"grid.png", arrays.name}
