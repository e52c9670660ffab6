"""Runs on images of one's own, as one types them."""

import json
import re
import shlex
from pathlib import Path

from own_images import CLASSES, write

from limpid.cli.main import main
from limpid.cli.parser import parse
from limpid.data import Folder
from limpid.recipes.registry import RECIPES, find_recipe


def test_the_commands_of_the_page_on_own_images_are_understood(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "own-images.md").read_text(encoding="utf-8")
    commands = [shlex.split(line.split("#")[0]) for line in page.splitlines() if line.startswith("    limpid ")]
    given = [words for words in commands if words[1] in ("train", "show")]
    assert len(given) == 3
    for words in given:
        recipe, *options = words[2 + (words[1] == "show") :]
        at = options.index("--run") if "--run" in options else len(options)
        assert parse(RECIPES[recipe](), options[:at], "limpid").data == Folder("photos")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    assert find_recipe(str(tmp_path / "mine.toml")).data == Folder("photos")


def test_a_run_is_trained_on_a_folder_from_the_command_line(tmp_path: Path, capsys):
    place = write(tmp_path / "p", CLASSES)
    small = ["--images", "8", "--batch-size", "4", "--network.model-channels", "16", "--network.channel-mult", "1", "1"]
    small += ["--network.attn-resolutions", "4", "--sampling.steps", "2", "--device", "cpu"]
    data = ["--data", "Folder", "--data.root", str(place), "--data.size", "8", "--data.channels", "RGBA"]
    args = ["train", "demo", *small, *data, "--data.width", "12", "--run", str(tmp_path / "run")]
    assert main(args) == 0
    message = capsys.readouterr()
    assert "images of 8x12, RGBA" in message.out
    assert "fewer than the 10,000 that the recipes are made for: expect copies" in message.err
    assert json.loads((tmp_path / "run" / "data.json").read_text())["class_names"] == ["cat", "dog"]
    assert main(["train", "demo", "--data", "Folder", "--run", str(tmp_path / "other")]) == 2
    assert "--data.root PATH" in capsys.readouterr().err


def test_a_run_begun_beside_its_images_goes_on_from_any_folder(tmp_path: Path, monkeypatch, capsys):
    write(tmp_path / "p", CLASSES)
    (tmp_path / "elsewhere").mkdir()
    small = [
        "--batch-size",
        "4",
        "--network.model-channels",
        "16",
        "--network.channel-mult",
        "1",
        "1",
        "--network.attn-resolutions",
        "4",
    ]
    data = ["--data", "Folder", "--data.root", "p", "--data.size", "8", "--data.channels", "L"]
    monkeypatch.chdir(tmp_path)
    here = [
        "train",
        "demo",
        *small,
        *data,
        "--sampling.steps",
        "2",
        "--device",
        "cpu",
        "--run",
        "run",
        "--allow-rewarm",
    ]
    assert main([*here, "--images", "8"]) == 0
    assert main([*here, "--images", "12"]) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "../run", "--run", "../run", "--images", "16", "--device", "cpu", "--allow-rewarm"]) == 0
    assert "16 of 16 images" in capsys.readouterr().out
