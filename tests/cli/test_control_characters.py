"""No control character of a file reaches the terminal."""

import ast
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_recipes import CPU, TINY

from limpid.cli.main import main
from limpid.data import Folder
from limpid.runtime import terminal
from limpid.sampling.checkpoints import load_info
from limpid.storage import checkpoint
from limpid.storage.lock import exclusive
from limpid.training.run import run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "run"
    run(replace(TINY, duration=16), folder, CPU)
    return folder


def test_class_names_are_bounded_and_of_one_line(run_folder: Path, tmp_path: Path):
    images, labels = np.zeros((2, 8, 8, 3), np.uint8), np.arange(2)
    np.savez(tmp_path / "long.npz", images=images, labels=labels, class_names=np.array(["a" * 65_000, "b"]))
    with pytest.raises(ValueError, match="is longer than 255 letters"):
        Folder(str(tmp_path / "long.npz")).open("cpu")

    file = checkpoint.list_checkpoints(run_folder / "checkpoints")[-1]
    data, tensors = checkpoint.read_data(file), checkpoint.read_tensors(file)
    names = ["\n" * 500, "\x1b]0;title\x07", *data["class_names"][2:]]
    about = load_info(checkpoint.save_checkpoint(tmp_path / "lines", 16, tensors, data | {"class_names": names}))
    assert all(name.isprintable() for name in about.class_names)
    long = checkpoint.save_checkpoint(
        tmp_path / "long", 16, tensors, data | {"class_names": ["\n" * 65_000, *names[1:]]}
    )
    with pytest.raises(ValueError, match="is longer than 2550 characters"):
        load_info(long)


def test_output_has_no_control_characters(capsys: pytest.CaptureFixture[str]):
    terminal.echo("\x1b[31mred\r\x07 é 猫\u202e\udcff\nline")
    assert capsys.readouterr().out == "\\x1b[31mred\\r\\x07 é 猫\\u202e\\udcff\nline\n"


def test_messages_from_files_reach_the_terminal_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name, content in (
        ("recipe.toml", 'target = "\\u001b]0;title\\u0007"'),
        ("\x1b[2Jrecipe.json", json.dumps({"\x1b[2J": 1})),
    ):
        (tmp_path / name).write_text(content)
        assert main(["train", str(tmp_path / name)]) == 2
    report = {"name": "\x1b[2J", "protocol": {"\x1b]0;x\x07": 1}}
    (tmp_path / "scores.json").write_text(json.dumps({"reports": [report]}))
    assert main(["compare", str(tmp_path / "scores.json"), str(tmp_path / "scores.json")]) == 2
    output = capsys.readouterr()
    assert "\x1b" not in output.out + output.err
    assert "\x07" not in output.out + output.err


def test_the_holder_of_a_run_is_shown_without_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "lock").write_text("\x1b[2Jsomebody")
    with suppress(ValueError), exclusive(tmp_path):
        assert "\\x1b[2Jsomebody" in capsys.readouterr().out
        file = os.open(tmp_path / "lock", os.O_RDWR)
        os.write(file, b"\x1b[2Jnobody")
        os.close(file)
        with pytest.raises(ValueError, match=r"in use by \\x1b\[2Jnobody"), exclusive(tmp_path):
            pass


def test_everything_is_printed_by_echo():
    source = Path(terminal.__file__).parents[1]
    calls = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    exported = "interop/onnx_files/draw.py"  # copied beside a model, where it runs without limpid
    assert calls == {"runtime/terminal.py", exported}
