"""What the README tells people to type works as it stands there."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limpid.cli.main import main
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import load_recipe_file
from limpid.recipes.serialize import from_dict

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
LIMPID = [command for command in COMMANDS if command.startswith("limpid ")]
SMALL = shlex.split(
    "--duration 32 --batch-size 16 --network.model-channels 16 --network.channel-mult 1 1 1"
    " --network.num-blocks 1 --network.attn-resolutions 16"
    " --sampling.steps 2 --sampling.sampler Ddim --device cpu"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run that the README draws from, and somebody's pictures."""
    place = tmp_path_factory.mktemp("readme")
    (place / "photos").mkdir()
    for i in range(20):
        Image.new("RGB", (40, 30), (i, 2 * i, 3 * i)).save(place / "photos" / f"{i}.jpg")
    assert main(["train", "demo", *SMALL, "--run", str(place / "runs" / "demo")]) == 0
    return place


ABOUT_CIFAR10 = [command for command in LIMPID if "cifar10" in command and "photos" not in command]


@pytest.mark.parametrize("command", [command for command in LIMPID if command not in ABOUT_CIFAR10])
def test_a_command_does_what_it_says(command: str, folder: Path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LIMPID_DATA", str(folder / "data"))
    words = shlex.split(command)[1:]
    assert main([*words, *(SMALL if words[0] == "train" else [])]) == 0


@pytest.mark.parametrize("command", ABOUT_CIFAR10)
def test_a_command_about_cifar10_does_what_it_says(command: str, folder: Path, cifar_root: Path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LIMPID_DATA", str(cifar_root))
    words = shlex.split(command)[1:]
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            main(words)
    else:
        assert main([*words, *(SMALL if words[0] == "train" else [])]) == 0


def test_the_two_commands_are_those_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMANDS:
        if command.startswith("make "):
            assert f"\n{command.removeprefix('make ')}: .venv/ready\n" in makefile
    assert "limpid train demo --run runs/demo" in makefile
    assert '-e ".[dev]"' in makefile


def test_the_recipe_file_is_a_recipe(tmp_path: Path):
    (text,) = blocks("toml")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    recipe, plain = load_recipe_file(path), tomllib.loads(text)
    assert (recipe.duration, recipe.augment.shift) == (plain["duration"], plain["augment"]["shift"])
    assert from_dict(Recipe, {"schedule": plain["schedule"]}).schedule == recipe.schedule


def test_the_python_code_runs(monkeypatch, tmp_path: Path, capsys):
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    exec(code.replace("duration=640", "duration=64"), names)
    assert names["pixels"].shape == (10, 1, 16, 16)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_every_picture_and_page_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", README):
        target = next(filter(None, target))
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_guide_names_tests_that_there_are():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")))
    written = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named
    assert named <= written
