"""The model card and the folder of a published model, made from a run that was trained and evaluated."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from random_models import EPS, random_pipeline, saved_model
from tiny_recipes import CPU, TINY

from limpid.cli.main import main
from limpid.evaluation.report import EvalProtocol, EvalReport, Score
from limpid.evaluation.report_file import add_report
from limpid.runtime.device import Runtime
from limpid.sampling.checkpoints import find_checkpoint, output_folder
from limpid.sampling.pipeline import load
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


EXACT = ["--device", "cpu", "--precision", "float32"]


FEW_STEPS = replace(EPS, sampling=replace(EPS.sampling, steps=40))


PROTOCOL = EvalProtocol(500, "a | network", "0" * 64, "resized", "/home/me/Digits train", 1617, "1" * 64)


def report(name: str, images_seen: int, value: float) -> EvalReport:
    provenance = {"images seen": images_seen, "weights": "ema", "sampler": "Heun", "steps": 3}
    return EvalReport(name, PROTOCOL, provenance, {"FD-CIFAR": Score(value, 1e-5, better="less", held_out=0.5)})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the scores of its last checkpoint, and of one before it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert run(TINY, folder, CPU)
    for seen, value in ((32, 9.0), (64, 2e-5)):
        add_report(report(str(folder), seen, value), folder / "scores.json")
    return folder


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    assert main(["export", "hub", str(trained), "--out", str(folder), *EXACT]) == 0
    return folder


def test_the_card_has_what_the_hub_reads_with_the_scores_and_their_protocol(exported: Path):
    data: Any = ModelCard.load(exported / "README.md").data
    assert (data.license, data.library_name) == ("cc-by-4.0", "limpid")
    assert data.pipeline_tag == "unconditional-image-generation"
    assert data.eval_results
    (score,) = data.eval_results
    assert (score.metric_type, score.metric_name, score.metric_value) == ("fd-cifar", "FD-CIFAR", 2e-5)
    assert score.metric_args["n"] == 500
    assert score.metric_args["low"] < 2e-5 < score.metric_args["high"]
    assert "sampler Heun, steps 3" in score.metric_args["protocol"]
    assert score.dataset_name == "Digits train"


def test_the_card_states_recipe_images_cost_and_limits(exported: Path):
    text = (exported / "README.md").read_text()
    assert text.index("![samples](samples.png)") < text.index("## Use") < text.index("## Training")
    assert "limpid sample hf:user/tiny" in text
    assert "64, in batches of 16, 0.036 epochs of 1,797 images" in text
    assert " seconds, cpu, 1 thread, float32" in text
    assert "0.0 " not in text
    assert "/home/me" not in text
    assert "| FD-CIFAR | 2.000e-05 |" in text
    assert text.count("features of a | network, images resized") == 2, "in the YAML and in the sentence above the table"
    assert "on the weights before they were rounded to float16" in text
    assert "CC BY 4.0" in text


def test_the_card_states_how_many_samples_a_slow_machine_left_out(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("limpid.sampling.figures.seconds_per_image", lambda *_: 10.0)
    assert main(["export", "hub", str(trained), "--out", str(tmp_path / "slow"), *EXACT]) == 0
    text = (tmp_path / "slow" / "README.md").read_text()
    assert "\n3 samples that were not selected" in text
    assert "\n77 of 80 samples of a complete grid were left out" in text


def test_the_folder_names_no_path_of_the_machine(exported: Path, trained: Path):
    for name in ("README.md", "recipe.json"):
        assert str(trained.parent) not in (exported / name).read_text()
    assert json.loads((exported / "recipe.json").read_text())["kind"] == "Recipe"
    assert (
        main(["train", str(exported / "recipe.json"), "--images", "16", "--run", str(exported.parent / "again")]) == 0
    )


def test_the_weights_are_those_of_the_run_rounded_to_half_precision(exported: Path, trained: Path):
    runtime = Runtime("cpu", "float32")
    published, original = load(exported / "limpid.safetensors", runtime=runtime), load(trained, runtime=runtime)
    for name, weight in original.model.net.state_dict().items():
        assert torch.equal(published.model.net.state_dict()[name], weight.half().float())
    assert published.class_names == original.class_names
    assert published.images_seen == 64


def test_the_folder_is_a_model_of_every_command(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    model, folder = exported / "limpid.safetensors", Path("copy")
    folder.mkdir()
    (folder / model.name).symlink_to(model)  # as in huggingface_hub's cache
    for name, out in ((folder, "a.png"), (model, "b.png")):
        assert main(["sample", str(name), "--n", "4", "--out", out, *EXACT]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    assert main(["edit", "img2img", "copy", "--images", "a.png", "--device", "cpu"]) == 0
    assert main(["likelihood", "copy", "--n", "2", "--num-levels", "2"]) == 0
    assert main(["evaluate", "copy", "--n", "1", *EXACT]) == 2
    assert "too few to evaluate" in capsys.readouterr().err
    assert (folder / "img2img.png").exists()
    words = ["--images", "16", "--every.sample", "0", "--run", "tuned"]
    assert main(["train", str(exported), "--init", str(exported), *words]) == 0
    with pytest.raises(ValueError, match="no checkpoint in empty"):
        load("empty")
    (folder / model.name).unlink()
    (folder / model.name).write_bytes(model.read_bytes()[:-9])
    assert main(["sample", "copy"]) == 2
    assert "copy/limpid.safetensors" in capsys.readouterr().err


def test_a_folder_with_files_of_diffusers_too_is_read_as_the_model_of_limpid_that_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = replace(FEW_STEPS, sampling=replace(FEW_STEPS.sampling, clip_denoised=True))
    model, run = saved_model(tmp_path / "run", recipe), tmp_path / "run"
    for folder in (tmp_path / "hub", run):
        what = "hub" if folder.name == "hub" else "diffusers"
        assert main(["export", what, model, "--out", str(folder)]) == 0
        (folder / "unet" / "config.json").write_text("{}")
    model_file = tmp_path / "hub" / "limpid.safetensors"
    assert find_checkpoint(tmp_path / "hub") == find_checkpoint(model_file)
    assert output_folder(tmp_path / "hub") == tmp_path / "hub"
    with pytest.raises(ValueError, match="no checkpoint in"):  # the folder of a run, which waits for its checkpoints
        find_checkpoint(run)
    assert main(["import", str(tmp_path / "hub"), "--run", str(tmp_path / "imported")]) == 2
    assert f"is a model of limpid already: limpid sample {tmp_path / 'hub'}" in capsys.readouterr().err


def test_where_diffusers_samples_the_same_its_files_are_exported_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, model = tmp_path / "hub", saved_model(tmp_path, FEW_STEPS)
    assert main(["export", "hub", model, "--out", str(out), "--licence", "mit", *EXACT]) == 0
    assert "without the files of diffusers" not in capsys.readouterr().err
    text = (out / "README.md").read_text()
    (call,) = [line for line in text.splitlines() if "DiffusionPipeline" in line]
    assert 'from_pretrained("user/model")' in call
    assert "license: mit" in text

    import diffusers

    call = call.replace("user/model", str(out)).replace(".images", "").replace(")(", ")(output_type='np', ")
    images = eval(call, {"diffusers": diffusers, "torch": torch}).images
    samples = load(out / "limpid.safetensors", runtime=Runtime("cpu", "float32")).sample(4)
    generated = torch.from_numpy(images).mul(255).round().permute(0, 3, 1, 2)
    assert (generated - samples.pixels).abs().max() <= 1


def test_files_of_diffusers_from_an_earlier_export_are_removed_where_the_model_has_none(tmp_path: Path):
    out, export = tmp_path / "hub", ["--out", str(tmp_path / "hub"), "--license", "mit", *EXACT]
    assert main(["export", "hub", saved_model(tmp_path, FEW_STEPS), *export]) == 0
    (out / "unet" / "notes.txt").write_text("the author's own")
    few = replace(TINY, sampling=replace(TINY.sampling, steps=2))
    assert main(["export", "hub", saved_model(tmp_path, few), *export]) == 0
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {"README.md", "limpid.safetensors", "recipe.json", "samples.png", "unet/notes.txt"}
    assert not (out / "scheduler").exists()


def test_a_folder_of_diffusers_by_another_program_is_not_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "model_index.json").write_text("{}")
    assert main(["export", "hub", saved_model(tmp_path, FEW_STEPS), "--out", str(tmp_path / "hub"), *EXACT]) == 2
    assert "that limpid did not write: choose another --out" in capsys.readouterr().err
    assert len(list((tmp_path / "hub").iterdir())) == 1


def test_scores_of_float16_weights_are_stated_as_those_of_the_published_weights(exported: Path, tmp_path: Path):
    model, out = exported / "limpid.safetensors", tmp_path / "hub"
    add_report(report(str(model), 64, 0.5), exported / "limpid" / "scores.json")
    assert main(["export", "hub", str(model), "--out", str(out), *EXACT]) == 0
    text = (out / "README.md").read_text()
    assert "Measured by `limpid evaluate` on these weights." in text
    assert "before they were rounded" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--licence", "My Own"], "expected a name as on the Hub"),
        (["--private"], "name it with --push user/name"),
        (["--push", "tiny"], "expected hf:user/name"),
        (["--push", "me/tiny@v1"], "expected user/name"),
        (["--guidance-model", "runs/weak", "--guidance", "2"], "on this machine alone"),
    ],
)
def test_what_cannot_be_published_is_refused_in_one_line_and_writes_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
):
    assert main(["export", "hub", str(trained), "--out", str(tmp_path / "hub"), *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_many_steps_is_sampled_with_fewer_and_the_card_states_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("limpid.sampling.figures.seconds_per_image", lambda *_: 1e-6)  # a busy machine makes fewer
    recipe = replace(
        EPS, schedule=replace(EPS.schedule, T=100, beta_end=0.2), sampling=replace(EPS.sampling, steps=100)
    )
    model = random_pipeline(recipe).save(tmp_path / "model.safetensors")
    assert main(["export", "hub", str(model), "--out", str(tmp_path / "hub"), *EXACT]) == 0
    text = (tmp_path / "hub" / "README.md").read_text()
    assert "by 50 steps of Ddim; `limpid sample` takes 100 of Ancestral by default" in text
    assert "limpid sample hf:user/model --num-samples 64 --steps 50 --sampler Ddim  # the samples above" in text
    assert "unconditional diffusion model of 8x8 RGB images" in text
