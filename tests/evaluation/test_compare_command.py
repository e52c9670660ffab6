"""`limpid compare` puts two evaluations side by side, if their protocols are the same."""

from pathlib import Path
from shutil import copytree

import pytest

from limpid.cli.main import main


def test_two_runs_are_compared_side_by_side(cache: None, trained_run: Path, capsys: pytest.CaptureFixture[str]):
    for steps in ("2", "3"):
        options = ["--n", "40", "--steps", steps, "--device", "cpu", "--out", str(trained_run / f"{steps}.json")]
        assert main(["evaluate", str(trained_run), *options]) == 0
    capsys.readouterr()
    assert main(["compare", str(trained_run / "2.json"), str(trained_run / "3.json")]) == 0
    assert "FD-CIFAR" in capsys.readouterr().out


def test_a_checkpoint_is_compared_by_its_own_scores(cache: None, tmp_path: Path, trained_run: Path, capsys):
    copy = copytree(trained_run, tmp_path / "run")
    file = next((copy / "checkpoints").glob("*64.safetensors"))
    for evaluated, steps in ((copy, "2"), (file, "3")):
        assert main(["evaluate", str(evaluated), "--n", "40", "--steps", steps, "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["compare", str(copy), str(file)]) == 0
    output = capsys.readouterr().out
    assert f"A: {copy}: " in output
    assert f"B: {file}: " in output
    assert "sampled with different steps" in output
    assert main(["compare", str(copy), str(tmp_path / "none" / "checkpoints" / "other.safetensors")]) == 2
    assert "other.safetensors" in capsys.readouterr().err


def test_scores_of_different_numbers_of_images_are_not_compared(
    cache: None, trained_run: Path, capsys: pytest.CaptureFixture[str]
):
    for n in ("40", "60"):
        options = ["--n", n, "--steps", "2", "--device", "cpu", "--out", str(trained_run / f"n{n}.json")]
        assert main(["evaluate", str(trained_run), *options]) == 0
    capsys.readouterr()
    assert main(["compare", str(trained_run / "n40.json"), str(trained_run / "n60.json")]) == 2
    assert "have different protocols (n 40 and 60)" in capsys.readouterr().err
