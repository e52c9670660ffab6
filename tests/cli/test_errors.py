"""A mistake of the user is one line, with exit code 2."""

from pathlib import Path

import pytest
from tiny_commands import TINY_OPTIONS

from limpid.cli.main import COMMANDS, main
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import TrainingRuntime
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "demo"], "no command 'fit': it is limpid train RECIPE"),
        (["trian", "demo"], f"no command 'trian': choose from {', '.join(COMMANDS)}; did you mean train?"),
        (["train"], "limpid train needs a RECIPE (demo, demo-ddpm, cifar10-small, small, cifar10-64-small, "),
        (["train", "dmeo"], "; did you mean demo?"),
        (["train", "none.toml"], "cannot read the recipe none.toml"),
        (["train", "demo", "--schedule", "Cosin"], "did you mean Cosine?"),
        (["train", "demo", "--schedule"], "--schedule needs a kind: choose from LinearBeta, "),
        (["train", "demo", "--device", "tpu"], "no device 'tpu' here: choose from"),
        (["sample", "nowhere"], "no checkpoint in nowhere"),
        (["sample"], "limpid sample needs a RUN"),
        (["show"], "a figure and a RECIPE or RUN: limpid show forward|schedule|data|trajectory|loss RECIPE-or-RUN"),
        (["show", "forwards", "demo"], "did you mean forward?"),
        (["show", "forward"], "limpid show forward needs a RECIPE"),
        (["show", "loss", "nowhere"], "no run folder at nowhere"),
        (["recipes", "demo"], "takes no names or options"),
        (
            ["edit"],
            "limpid edit needs a kind of edit and a RUN: limpid edit inpaint|img2img|interpolate|invert RUN [options]",
        ),
        (["edit", "inpant", "nowhere"], "did you mean inpaint?"),
        (["likelihood", "nowhere"], "no checkpoint in nowhere"),
        (["posthoc-ema", "nowhere"], "no run folder at nowhere"),
        (["average", "nowhere"], "no run folder at nowhere"),
    ],
)
def test_a_mistake_is_one_line(args: list[str], message: str, capsys, monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("limpid: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_guidance_without_labels_or_a_weaker_network_is_refused(tmp_path: Path, capsys):
    run_folder = str(tmp_path / "run")
    unconditional = ["--no-class-conditional", "--sampling.guidance.scale", "1"]
    assert main(["train", "demo", *TINY_OPTIONS, *unconditional, "--run", run_folder]) == 0
    assert main(["sample", run_folder, "--guidance.scale", "2", "--out", str(tmp_path / "out")]) == 2
    assert "guidance needs labels, or a weaker model" in capsys.readouterr().err


def test_guidance_of_a_network_without_label_dropout_is_refused(tmp_path: Path, capsys):
    run_folder = str(tmp_path / "run")
    without_dropout = ["--label-dropout", "0", "--sampling.guidance.scale", "1"]
    assert main(["train", "demo", *TINY_OPTIONS, *without_dropout, "--run", run_folder]) == 0
    assert main(["sample", run_folder, "--guidance.scale", "2", "--out", str(tmp_path / "out")]) == 2
    assert "trained without label dropout, so guidance needs a weaker model" in capsys.readouterr().err


def test_a_missing_data_set_is_an_error_with_the_expected_files(tmp_path: Path, capsys):
    assert main(["train", "cifar10-small", "--data.root", str(tmp_path), "--run", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"no CIFAR-10 at {tmp_path}: looked for cifar-10-batches-py" in error
    assert not (tmp_path / "run").exists()


def test_a_run_in_the_folder_of_another_is_refused(tiny_run: Path):
    with pytest.raises(ValueError, match="holds a run of another recipe"):
        run(RECIPES["demo"](), tiny_run, TrainingRuntime("cpu"))


@pytest.mark.parametrize("broken", ["recipe.json", "checkpoints/000000000032.safetensors"])
def test_a_broken_run_is_refused_in_one_line(broken: str, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "demo", *TINY_OPTIONS, "--run", str(folder)]) == 0
    (folder / broken).write_bytes(b"{")
    capsys.readouterr()
    assert main(["train", "demo", *TINY_OPTIONS, "--run", str(folder)]) == 2
    error = capsys.readouterr().err
    assert str(folder / broken) in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    assert main(["train", "demo", *TINY_OPTIONS, "--run", str(tmp_path / "file" / "run")]) == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["photos", "photos.zip"])
def test_training_on_a_folder_of_images_names_the_command_for_it(name: str, tmp_path: Path, capsys):
    images = tmp_path / name
    images.mkdir() if name == "photos" else images.touch()
    assert main(["train", str(images)]) == 2
    assert f"limpid train small --data.root {images}" in capsys.readouterr().err
