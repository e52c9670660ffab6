"""A folder that was exported to ONNX gives in Python, without limpid, the samples of limpid."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import REPOSITORY
from onnx_exports import RECIPE, SAMPLING, SEEDS, SHAPE
from random_models import NAMES, random_pipeline, saved_model

from limpid.cli.main import main
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.level import Level
from limpid.diffusion.samplers import Ancestral
from limpid.diffusion.samplers.steps import final_step
from limpid.diffusion.schedules import Cosine
from limpid.interop import onnx
from limpid.nets import DiT
from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.registry import RECIPES

WITHOUT_LIMPID = """
import runpy, sys
sys.modules["limpid"] = sys.modules["torch"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_draw(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_LIMPID, str(folder / "draw.py"), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def limpid_samples(recipe: Recipe, labels: list[int] | None, seeds: tuple[int, ...] = SEEDS) -> np.ndarray:
    return final_step(random_pipeline(recipe, SHAPE).trajectory(seeds, labels=labels)).x.numpy()


def test_draw_samples_from_a_seed_what_limpid_samples_from_it(exported: Path):
    options = ["--n", "3", "--seed", "5", "--labels", "dog", "2", "--save", "samples.npy", "--out", "samples.png"]
    done = run_draw(exported, *options)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(exported / "samples.npy"), limpid_samples(RECIPE, [1, 1, 2]), atol=2e-5, rtol=0)


def test_draw_takes_another_number_of_steps_and_noise_from_a_file(exported: Path, draw: ModuleType):
    np.save(exported / "noise.npy", np.stack([next(draw.torch_noise(seed, SHAPE)) for seed in SEEDS])[None])
    options = ["--n", "3", "--noise", "noise.npy", "--sampler", "1", "--labels", "none", "--save", "samples.npy"]
    done = run_draw(exported, *options)
    assert done.returncode == 0, done.stderr
    recipe = replace(RECIPE, sampling=replace(SAMPLING, steps=2, guidance=Guidance()))
    np.testing.assert_allclose(np.load(exported / "samples.npy"), limpid_samples(recipe, None), atol=2e-5, rtol=0)


def test_a_learned_variance_and_a_guidance_model_are_exported_too(tmp_path: Path):
    sampling = Sampling(4, Ancestral("learned"), guidance=Guidance(1.5), guidance_model="a weaker run")
    recipe: Recipe = replace(
        RECIPES["cifar10-iddpm"](), network=DiT(2, 16, 1, 2), schedule=Cosine(30), sampling=sampling
    )
    pipeline = random_pipeline(recipe, SHAPE)
    guide = random_pipeline(replace(RECIPE, network=DiT(4, 8, 1, 1)), SHAPE).model
    onnx.export_onnx(onnx.OnnxModel(pipeline.model, recipe, SHAPE, guide=guide), tmp_path)
    done = run_draw(tmp_path, "--n", "3", "--seed", "5", "--save", "samples.npy")
    assert done.returncode == 0, done.stderr
    expected = final_step(replace(pipeline, guide=guide).trajectory(SEEDS)).x.numpy()
    np.testing.assert_allclose(np.load(tmp_path / "samples.npy"), expected, atol=2e-5, rtol=0)


def test_a_sampler_with_adaptive_steps_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = saved_model(tmp_path / "run", RECIPE, SHAPE)
    assert main(["export", "onnx", run, "--out", str(tmp_path / "out"), "--sampler", "Dopri5"]) == 2
    assert "Dopri5 chooses its steps by the images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_onnxscript_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"pip install 'limpid-diffusion\[onnx\]'$"):
        onnx.save_onnx(random_pipeline(RECIPE, SHAPE).model, SHAPE, tmp_path / "denoiser.onnx")


def test_draw_refuses_an_unknown_class_with_the_choices(exported: Path):
    done = run_draw(exported, "--labels", "ant")
    assert (done.returncode, done.stderr) == (1, f"draw.py: no class 'ant': choose from {', '.join(NAMES)}\n")


def test_the_images_are_a_png_that_pillow_reads(exported: Path, draw: ModuleType, tmp_path: Path):
    from PIL import Image

    for channels, mode in ((1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
        (tmp_path / "image.png").write_bytes(draw.png(pixels))
        with Image.open(tmp_path / "image.png") as image:
            assert image.mode == mode
            assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_the_network_takes_batches_of_any_size_with_a_level_for_each_image(exported: Path):
    session, model = onnxruntime.InferenceSession(exported / "denoiser.onnx"), random_pipeline(RECIPE, SHAPE).model
    for n in (1, 7, 64):
        x, labels = torch.randn(n, *SHAPE), torch.randint(0, 4, (n,))
        alpha, sigma = torch.rand(2, n, dtype=torch.float64) + 0.1
        inputs = {"x": x, "alpha": alpha, "sigma": sigma, "labels": labels}
        (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        with torch.no_grad():
            torch.testing.assert_close(
                torch.from_numpy(found), model(x, Level(alpha, sigma), labels), rtol=0, atol=1e-5
            )


def test_the_network_holds_no_path_of_this_machine_and_is_of_opset_20(exported: Path):
    import onnx as library

    content = (exported / "denoiser.onnx").read_bytes()
    assert str(REPOSITORY).encode() not in content
    assert b"site-packages" not in content
    assert library.load_from_string(content).opset_import[0].version == 20
