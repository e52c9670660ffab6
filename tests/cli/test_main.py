"""Every command on a trained run and real images."""

import re
from pathlib import Path
from shutil import copytree
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from tiny_commands import TINY_OPTIONS, width

from limpid.cli.main import main
from limpid.diffusion.samplers import Sampler

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_training_again_resumes_and_a_run_folder_is_a_recipe(tiny_run: Path, tmp_path: Path, capsys):
    folder = copytree(tiny_run, tmp_path / "run")
    again = ["train", str(folder), "--device", "cpu", "--precision", "float32", "--images", "48"]
    assert main(again) == 2
    assert "--allow-rewarm" in capsys.readouterr().err
    assert main([*again, "--allow-rewarm"]) == 0
    output = capsys.readouterr().out
    assert "resuming after 32 images" in output
    assert output.endswith(f"next: limpid sample {folder}, limpid evaluate {folder}\n")


@pytest.mark.parametrize("sampler", [kind.__name__ for kind in get_args(Sampler)])
def test_every_sampler_samples_from_any_model(sampler: str, tiny_run: Path, tmp_path: Path, capsys):
    args = ["--sampler", sampler, "--steps", "4", "--n", "2", "--guidance.scale", "2", "--schedule", "Cosine"]
    assert main(["sample", str(tiny_run), *args, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "grid.png").exists()
    nfe = {"Heun": 7, "Dopri5": 24}.get(sampler, 4)
    assert f" of {nfe} network evaluations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "nfe"), [("inpaint", 5), ("img2img", 15), ("vary", 15), ("invert", 9), ("interpolate", 9)]
)
def test_real_images_can_be_edited_and_the_progress_ends_with_the_edit(
    edit: str, nfe: int, tiny_run: Path, tmp_path: Path, capsys
):
    args = ["--steps", "3", "--images", "0", "1", "--resample", "2", "--num-variations", "2"]
    args += ["--strengths", "1", "1", "1"]
    assert main(["edit", edit, str(tiny_run), *args, "--out", str(tmp_path / "sheet.png")]) == 0
    assert width(tmp_path / "sheet.png") > 200
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"{nfe} of {nfe} network evaluations"
    assert f"{nfe} of {nfe}" not in "".join(lines[:-1])


@pytest.mark.parametrize("method", ["bound", "continuous", "ode"])
def test_the_likelihood_states_its_protocol(method: str, tiny_run: Path, capsys):
    args = ["--method", method, "--n", "4", "--num-levels", "2", "--steps", "10", "--tolerance", "0.1"]
    assert main(["likelihood", str(tiny_run), *args]) == 0
    output = capsys.readouterr().out
    assert re.match(r"-?\d+\.\d{4} \+- \d+\.\d{4} bits/dim", output)
    assert "4 images of the complete training set, class-conditional, seed 0; ema weights after" in output


@pytest.mark.parametrize(("n", "code"), [([], 0), (["--n", "900"], 2)])
def test_a_folder_of_fewer_images_than_n_is_evaluated_with_all_of_them(n: list[str], code: int, tmp_path: Path, capsys):
    (tmp_path / "images").mkdir()
    for number in range(44):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    reference = ["--reference", str(tmp_path / "images"), "--device", "cpu", "--threads", "1"]
    assert main(["evaluate", str(tmp_path / "images"), *reference, *n]) == code
    message = "holds 44 images, fewer than --n 900" if code else "holds 44 images, so n is 44; only scores of equal"
    assert message in capsys.readouterr().err


def test_epochs_are_passes_over_the_training_set(tmp_path: Path, capsys):
    args = [
        "train",
        "demo",
        *TINY_OPTIONS[2:],
        "--epochs",
        "0.02",
        "--batch-size",
        "18",
        "--run",
        str(tmp_path / "run"),
    ]
    assert main(args) == 0
    assert "--epochs 0.02 of 1,797 images: --duration 36" in capsys.readouterr().out
    assert main([*args, "--epochs", "-1"]) == 2
