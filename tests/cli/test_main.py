"""The command: every verb on real input, and every mistake answered in one line with exit code 2."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from random_models import EPS, saved_model

from limpid.cli.main import COMMANDS, main
from limpid.cli.parser import parse
from limpid.cli.train import Train
from limpid.diffusion.samplers import Sampler
from limpid.diffusion.schedules import Cosine, Karras
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import TrainingRuntime
from limpid.sampling.figures import level_title
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.samples import row_labels
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")
TINY = [
    *("--images", "32", "--batch-size", "16", "--network.model-channels", "16", "--network.channel-mult", "1", "2"),
    *("--sampling.schedule.sigma-min", "0.002"),
    *(
        "--network.attn-resolutions",
        "4",
        "--data.size",
        "8",
        "--sampling.steps",
        "2",
        "--device",
        "cpu",
        "--precision",
        "float32",
    ),
]


def width(path: Path) -> int:
    with Image.open(path) as image:
        return image.width


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "demo", *TINY, "--run", str(folder)]) == 0
    return folder


def test_help_answers_at_once_and_names_every_verb(capsys):
    begin = time.perf_counter()
    assert main([]) == main(["--help"]) == 0
    assert time.perf_counter() - begin < 0.1
    message = capsys.readouterr().out
    assert all(f"limpid {verb}" in message for verb in COMMANDS)


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_help_of_a_command_alone_begins_with_what_it_does(verb, capsys):
    assert main([verb, "-h"]) == 0
    shown = capsys.readouterr().out
    assert shown.count(f"\n  limpid {verb} ") == 1
    assert not any(f"\n  limpid {other} " in shown for other in COMMANDS if other != verb)


def test_help_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys; from limpid.cli.main import COMMANDS, main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_the_recipes_say_what_they_cost(capsys):
    assert main(["recipes"]) == 0
    message = capsys.readouterr().out
    assert all(name in message for name in RECIPES)
    assert message.count("Cost:") == len(set(RECIPES.values())), "a recipe of two names is listed once"


def test_training_again_goes_on_and_its_folder_is_a_recipe(pipeline: Path, capsys):
    again = ["train", str(pipeline), "--device", "cpu", "--precision", "float32", "--images", "48"]
    assert main(again) == 2
    assert "--allow-rewarm" in capsys.readouterr().err
    assert main([*again, "--allow-rewarm"]) == 0
    shown = capsys.readouterr().out
    assert "resuming after 32 images" in shown
    assert shown.endswith(f"next: limpid sample {pipeline}, limpid evaluate {pipeline}\n")


def test_sampling_writes_the_files_that_the_options_name(pipeline: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    args = ["--n", "6", "--labels", "3", "7", "--seed", "5", "--save-images", "--npz", "--animation", "--out", str(out)]
    assert main(["sample", str(pipeline), *args]) == 0
    printed = capsys.readouterr().out.split()
    assert {Path(line) for line in printed} >= {out / "grid.png", out / "samples.npz", out / "denoising.webp"}
    assert sorted(p.name for p in (out / "images").iterdir()) == [f"{seed:06d}.png" for seed in range(5, 11)]
    arrays = np.load(out / "samples.npz")
    assert arrays["images"].shape == (6, 8, 8, 1)
    assert arrays["labels"].tolist() == [3, 3, 3, 7, 7, 7]
    assert arrays["class_names"].tolist() == list("0123456789")
    with Image.open(out / "images" / "000007.png") as single:
        assert np.array_equal(np.array(single), arrays["images"][2, :, :, 0])


def test_png_files_of_five_channels_are_refused_before_sampling(tmp_path: Path, capsys, monkeypatch):
    model = saved_model(tmp_path, EPS, (5, 8, 8))
    monkeypatch.setattr(Pipeline, "sample_batches", None)  # a call of it would fail
    assert main(["sample", model, "--n", "1", "--save-images", "--device", "cpu"]) == 2
    assert "a PNG holds 1, 3 or 4 channels" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused_before_sampling(tmp_path: Path, capsys, monkeypatch):
    model = saved_model(tmp_path, EPS, (1, 8, 8))
    monkeypatch.setattr(Pipeline, "sample_batches", None)  # a call of it would fail
    (tmp_path / "file").touch()
    assert main(["sample", model, "--n", "1", "--out", str(tmp_path / "file" / "drawn"), "--device", "cpu"]) == 1
    assert f"{tmp_path / 'file' / 'drawn'}: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        ([0, 0, 1, 1], ["cat", "dog"]),
        ([1, 1, 0, 0, 1, 1], ["dog", "cat", "dog"]),
        ([0, 0, 0, 1, 1], []),
        ([0, 1], []),
        ([], []),
    ],
)
def test_rows_are_named_where_every_class_has_equally_many_samples(labels: list[int], rows: list[str]):
    assert row_labels(labels, ["cat", "dog"]) == rows


def test_a_sample_can_be_generated_again_alone(pipeline: Path, tmp_path: Path):
    for seed, n in ((0, 4), (2, 1)):
        args = ["--n", str(n), "--seed", str(seed), "--labels", "4", "--npz", "--out", str(tmp_path / str(n))]
        assert main(["sample", str(pipeline), *args, "--precision", "float32"]) == 0
    four, one = (np.load(tmp_path / name / "samples.npz")["images"].astype(int) for name in ("4", "1"))
    assert abs(four[2] - one[0]).max() <= 1


@pytest.mark.parametrize("sampler", [kind.__name__ for kind in get_args(Sampler)])
def test_every_sampler_samples_from_any_model(sampler: str, pipeline: Path, tmp_path: Path, capsys):
    args = ["--sampler", sampler, "--steps", "4", "--n", "2", "--guidance.scale", "2", "--schedule", "Cosine"]
    assert main(["sample", str(pipeline), *args, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "grid.png").exists()
    evaluations = {"Heun": 7, "Dopri5": 24}.get(sampler, 4)
    assert f" of {evaluations} network evaluations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "evaluations"), [("inpaint", 5), ("img2img", 15), ("vary", 15), ("invert", 9), ("interpolate", 9)]
)
def test_real_images_can_be_edited_and_the_progress_ends_with_the_edit(
    what: str, evaluations: int, pipeline: Path, tmp_path: Path, capsys
):
    args = [
        "--steps",
        "3",
        "--images",
        "0",
        "1",
        "--resample",
        "2",
        "--num-variations",
        "2",
        "--strengths",
        "1",
        "1",
        "1",
    ]
    assert main(["edit", what, str(pipeline), *args, "--out", str(tmp_path / "sheet.png")]) == 0
    assert width(tmp_path / "sheet.png") > 200
    message = capsys.readouterr().err.splitlines()
    assert message[-1] == f"{evaluations} of {evaluations} network evaluations"
    assert f"{evaluations} of {evaluations}" not in "".join(message[:-1])


@pytest.mark.parametrize("method", ["bound", "continuous", "ode"])
def test_the_likelihood_states_its_protocol(method: str, pipeline: Path, capsys):
    args = ["--method", method, "--n", "4", "--num-levels", "2", "--steps", "10", "--tolerance", "0.1"]
    assert main(["likelihood", str(pipeline), *args]) == 0
    message = capsys.readouterr().out
    assert re.match(r"-?\d+\.\d{4} \+- \d+\.\d{4} bits/dim", message)
    assert "4 images of the complete training set, class-conditional, seed 0; ema weights after" in message


@pytest.mark.parametrize("what", ["forward", "schedule", "data"])
def test_every_figure_of_a_recipe_is_written(what: str, tmp_path: Path):
    out = tmp_path / "figure.png"
    assert main(["show", what, "demo", "--schedule", "LinearBeta", "--out", str(out)]) == 0
    assert width(out) > 300


def test_guidance_without_labels_or_a_weaker_network_is_refused(tmp_path: Path, capsys):
    run_folder = str(tmp_path / "run")
    assert (
        main(["train", "demo", *TINY, "--no-class-conditional", "--sampling.guidance.scale", "1", "--run", run_folder])
        == 0
    )
    assert main(["sample", run_folder, "--guidance.scale", "2", "--out", str(tmp_path / "out")]) == 2
    assert "guidance needs labels, or a weaker model" in capsys.readouterr().err


def test_guidance_of_a_network_that_was_given_every_label_is_refused(tmp_path: Path, capsys):
    run_folder = str(tmp_path / "run")
    always = ["--label-dropout", "0", "--sampling.guidance.scale", "1"]
    assert main(["train", "demo", *TINY, *always, "--run", run_folder]) == 0
    assert main(["sample", run_folder, "--guidance.scale", "2", "--out", str(tmp_path / "out")]) == 2
    assert "trained without label dropout, so guidance needs a weaker model" in capsys.readouterr().err


def test_the_forward_strip_has_a_column_for_each_timestep(tmp_path: Path, capsys):
    args = [
        "show",
        "forward",
        "demo",
        "--schedule",
        "LinearBeta",
        "--out",
        str(tmp_path / "strip.png"),
        "--timesteps",
    ]
    assert main([*args, "0", "500", "1000"]) == 0
    three = width(tmp_path / "strip.png")
    assert main([*args, "0", "250", "500", "750", "1000"]) == 0
    assert width(tmp_path / "strip.png") > three
    assert main([*args, "1001"]) == 2
    assert "has those from 0 to 1000" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["trajectory", "loss"])
def test_every_figure_of_a_run_is_written(what: str, pipeline: Path, tmp_path: Path, capsys):
    out = tmp_path / "figure.png"
    assert main(["show", what, str(pipeline), "--out", str(out)]) == 0
    assert width(out) > 300
    assert ("3 of 3 network evaluations" in capsys.readouterr().err) == (what == "trajectory")


def options(*args: str) -> Recipe:
    default = Train(RECIPES["cifar10"](), TrainingRuntime(), Path("runs/cifar10"))
    return parse(default, args, "limpid train cifar10").recipe


def test_everything_can_be_changed_from_the_command_line():
    recipe = options(
        *(
            "--schedule",
            "Cosine",
            "--schedule.T",
            "400",
            "--data.size",
            "48",
            "--augment.flip",
            "0",
            "--batch-size",
            "32",
        ),
        *(
            "--network.model-channels",
            "64",
            "--images",
            "1000",
            "--sampling.sampler=heun",
            "--network.attn-resolutions",
            "12",
            "24",
        ),
    )
    paper = RECIPES["cifar10"]()
    assert recipe == replace(
        paper,
        duration=1000,
        batch_size=32,
        schedule=Cosine(T=400),
        data=replace(paper.data, size=48),
        augment=replace(paper.augment, flip=0.0),
        network=replace(paper.network, model_channels=64, attn_resolutions=(12, 24)),
        sampling=recipe.sampling,
    )
    assert type(recipe.sampling.sampler).__name__ == "Heun"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "demo"], "no command 'fit': it is limpid train RECIPE"),
        (
            ["trian", "demo"],
            f"no command 'trian': choose from {', '.join(COMMANDS)}; did you mean train?",
        ),
        (["train"], "limpid train needs a RECIPE (demo, demo-ddpm, cifar10-small, small, cifar10-64-small, "),
        (
            ["train", "dmeo"],
            "; did you mean demo?",
        ),
        (["train", "none.toml"], "cannot read the recipe none.toml"),
        (["train", "demo", "--schedule", "Cosin"], "did you mean Cosine?"),
        (["train", "demo", "--schedule"], "--schedule needs a kind: choose from LinearBeta, "),
        (["train", "demo", "--device", "tpu"], "no device 'tpu' here: choose from"),
        (["sample", "nowhere"], "no checkpoint in nowhere"),
        (["sample"], "limpid sample needs a RUN"),
        (
            ["show"],
            "a figure and a RECIPE or RUN: limpid show forward|schedule|data|trajectory|loss RECIPE-or-RUN",
        ),
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
def test_a_mistake_gets_one_clear_line(args: list[str], message: str, capsys, monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("limpid: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--scedule.T", "5"], "--schedule.T"),
        (["--schedule.T", "many"], "many"),
        (["--duraton", "5"], "--duration"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(args: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        options(*args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--labels", "cat"], "no class 'cat': choose from 0, 1, 2"),
        (["--n", "0"], "--num-samples 0 --batch-size 80: expected at least 1 of each"),
        (["--steps", "0"], "expected at least 1"),
        (["--schedule", "LogNormal"], "infinite noise at u = 1"),
        (["--sampler", "Ddim", "--sampler.eta", "nan"], "--sampler.eta nan: expected a number"),
    ],
)
def test_options_that_cannot_be_sampled_with_get_one_clear_line(
    args: list[str], message: str, pipeline: Path, tmp_path, capsys
):
    assert main(["sample", str(pipeline), *args, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_data_set_is_an_error_of_one_line_with_the_expected_files(tmp_path: Path, capsys):
    assert main(["train", "cifar10-small", "--data.root", str(tmp_path), "--run", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"no CIFAR-10 at {tmp_path}: looked for cifar-10-batches-py" in error
    assert not (tmp_path / "run").exists()


def test_a_run_in_the_folder_of_another_is_refused(pipeline: Path):
    with pytest.raises(ValueError, match="holds a run of another recipe"):
        run(RECIPES["demo"](), pipeline, TrainingRuntime("cpu"))


@pytest.mark.parametrize("broken", ["recipe.json", "checkpoints/000000000032.safetensors"])
def test_a_broken_run_gets_one_clear_line(broken: str, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "demo", *TINY, "--run", str(folder)]) == 0
    (folder / broken).write_bytes(b"{")
    capsys.readouterr()
    assert main(["train", "demo", *TINY, "--run", str(folder)]) == 2
    error = capsys.readouterr().err
    assert str(folder / broken) in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_written_to_gets_one_clear_line(tmp_path: Path, capsys):
    (tmp_path / "file").touch()
    assert main(["train", "demo", *TINY, "--run", str(tmp_path / "file" / "run")]) == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("word", "value"), [("True", True), ("False", False), ("auto", "auto")])
def test_a_choice_among_values_is_no_choice_of_a_kind(word: str, value: bool | str):
    options = parse(Train(RECIPES["demo"](), TrainingRuntime(), Path("run")), ["--compile", word], "limpid train demo")
    assert options.runtime.compile == value


def test_samples_replace_earlier_ones_only_with_overwrite(pipeline: Path, tmp_path: Path, capsys):
    args = ["sample", str(pipeline), "--n", "2", "--npz", "--out", str(tmp_path), "--device", "cpu"]
    assert main(args) == main([*args, "--seed", "7"]) == main([*args, "--seed", "8", "--overwrite"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"grid.png", "grid-2.png", "samples.npz", "samples-2.npz"}
    assert np.load(tmp_path / "samples.npz")["seeds"].tolist() == [8, 9]
    message = capsys.readouterr().err
    assert re.search(r"sampling from \S+\.safetensors \(ema weights, \d+ images seen, saved .* ago\)", message)


def test_an_out_with_a_suffix_is_a_file_and_one_without_is_a_folder(pipeline: Path, tmp_path: Path):
    assert main(["sample", str(pipeline), "--n", "2", "--out", str(tmp_path / "mine.png")]) == 0
    assert main(["show", "schedule", "demo", "--out", str(tmp_path / "figures")]) == 0
    assert main(["edit", "img2img", str(pipeline), "--steps", "2", "--threads", "1", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "mine.png").is_file()
    assert (tmp_path / "figures" / "schedule.png").is_file()
    assert (tmp_path / "img2img.png").is_file()


@pytest.mark.parametrize("name", ["photos", "photos.zip"])
def test_training_on_a_folder_of_images_leads_to_the_recipe_for_them(name: str, tmp_path: Path, capsys):
    place = tmp_path / name
    place.mkdir() if name == "photos" else place.touch()
    assert main(["train", str(place)]) == 2
    assert f"limpid train small --data.root {place}" in capsys.readouterr().err


def test_epochs_are_passes_over_the_training_set(tmp_path: Path, capsys):
    args = ["train", "demo", *TINY[2:], "--epochs", "0.02", "--batch-size", "18", "--run", str(tmp_path / "run")]
    assert main(args) == 0
    assert "--epochs 0.02 of 1,797 images: --duration 36" in capsys.readouterr().out
    assert main([*args, "--epochs", "-1"]) == 2


def test_show_data_refuses_what_training_would(capsys):
    assert main(["show", "data", "demo", "--network.channel-mult", "1", "2", "2", "2", "2", "2", "2"]) == 2
    assert capsys.readouterr().err.startswith("limpid: ")


@pytest.mark.parametrize(("given", "code"), [([], 0), (["--n", "900"], 2)])
def test_a_folder_of_fewer_images_is_scored_by_as_many_as_it_has(given: list[str], code: int, tmp_path: Path, capsys):
    (tmp_path / "images").mkdir()
    for number in range(44):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    reference = ["--reference", str(tmp_path / "images"), "--device", "cpu", "--threads", "1"]
    assert main(["evaluate", str(tmp_path / "images"), *reference, *given]) == code
    message = capsys.readouterr().err
    assert (
        "holds 44 images, fewer than --n 900" if code else "holds 44 images, so n is 44; only scores of equal"
    ) in message


def test_a_level_is_labelled_with_its_timestep_where_the_schedule_is_discrete():
    u = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    cosine = Cosine(T=400)
    assert [level_title(cosine, cosine(u)[i]) for i in range(3)] == ["t = 0", "t = 100", "t = 400"]
    assert level_title(Karras(), Karras()(u)[2]) == "σ = 80"
