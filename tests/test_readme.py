"""The commands of the README work as they are written."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import limpid
from limpid.cli.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
SERVED = "limpid lab"
"""Runs until Ctrl-C: tests/lab/test_server.py starts it."""
LIMPID = [command for command in COMMANDS if command.startswith("limpid ") and command != SERVED]
SMALL = shlex.split(
    "--duration 32 --batch-size 16 --network.model-channels 16 --network.channel-mult 1 1 1"
    " --network.num-blocks 1 --sampling.steps 2 --sampling.sampler Ddim --device cpu"
)
TRAINED = [*SMALL, "--network.attn-resolutions", "16"]
SAMPLED = [*SMALL, "--network.attn-resolutions", "4", "--data.size", "8"]
"""Of the run that the commands sample from, by the hundred and in many steps: its images are smaller still."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run that the README samples from, and with somebody's images."""
    path = tmp_path_factory.mktemp("readme")
    (path / "photos").mkdir()
    for i in range(20):
        Image.new("RGB", (40, 30), (i, 2 * i, 3 * i)).save(path / "photos" / f"{i}.jpg")
    assert main(["train", "demo", *SAMPLED, "--run", str(path / "runs" / "demo")]) == 0
    return path


ABOUT_CIFAR10 = [command for command in LIMPID if "cifar10" in command and "photos" not in command]


@pytest.mark.parametrize("command", [command for command in LIMPID if command not in ABOUT_CIFAR10])
def test_a_command_of_the_readme_runs(command: str, folder: Path, shared_cache: Path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LIMPID_DATA", str(shared_cache))
    words = shlex.split(command)[1:]
    assert main([*words, *(TRAINED if words[0] == "train" else [])]) == 0


@pytest.mark.parametrize("command", ABOUT_CIFAR10)
def test_a_command_about_cifar10_runs(command: str, folder: Path, cifar_root: Path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LIMPID_DATA", str(cifar_root))
    words = shlex.split(command)[1:]
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            main(words)
    else:
        shorter = {"train": [*TRAINED, "--data.split", "test"], "sample": ["--steps", "2"]}
        assert main([*words, *shorter.get(words[0], [])]) == 0


def test_the_two_commands_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMANDS:
        if command.startswith("make "):
            assert f"\n{command.removeprefix('make ')}: .venv/ready\n" in makefile
    assert "limpid train demo --run runs/demo" in makefile
    assert '-e ".[dev]"' in makefile


SHORT = {'"demo", duration=20_000': '"demo", {"sampling.steps": 2}, duration=64', "sample(16,": "sample(2,"}
"""What is shortened in the README's Python code."""


def test_the_python_code_runs(monkeypatch, tmp_path: Path, capsys):
    (code,) = blocks("python")
    compile(code, "README.md", "exec")
    if not hasattr(limpid, "load"):
        pytest.skip("limpid.load is not in this version: the code is only compiled")
    names: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    for full, short in SHORT.items():
        assert full in code
        code = code.replace(full, short)
    exec(code, names)
    assert any((tmp_path / "horses").iterdir())
    assert (tmp_path / "runs" / "mine" / "recipe.json").exists()
    assert capsys.readouterr().out.splitlines()[-1].startswith("64 ")


def test_the_readme_fits_in_150_lines():
    assert len(README.splitlines()) <= 150


def test_nothing_tells_people_to_install_the_package_of_another_name():
    """The name `limpid` on PyPI belongs to another package; this distribution is `limpid-diffusion`."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        assert not re.search(r"pip install limpid(?!-diffusion)", page.read_text(encoding="utf-8")), page
