"""An exported folder samples what limpid samples, without limpid: in Python, under node, and in a browser."""

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import REPOSITORY
from random_models import NAMES, random_pipeline, saved_model

from limpid.cli.main import main
from limpid.diffusion.guidance import Guidance
from limpid.diffusion.level import Level
from limpid.diffusion.samplers import Ancestral, DpmSolverPP, Heun
from limpid.diffusion.samplers.steps import final_step
from limpid.diffusion.schedules import Cosine, Karras
from limpid.interop import onnx
from limpid.nets import DiT, UNet
from limpid.recipes.recipe import Recipe, Sampling
from limpid.recipes.registry import RECIPES

SEEDS, SHAPE = (5, 6, 7), (1, 8, 8)
NPM = REPOSITORY / ".cache" / "npm" / "node_modules"
SAMPLING = Sampling(4, Heun(), Karras(sigma_min=0.05), guidance=Guidance(2.0, sigma_lo=0.3, rescale=0.5))
UNET = UNet(model_channels=8, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(), dropout=0.0)
RECIPE: Recipe = replace(RECIPES["demo"](), network=UNET, sampling=SAMPLING)
WITHOUT_LIMPID = """
import runpy, sys
sys.modules["limpid"] = sys.modules["torch"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the command made of a guided model with classes."""
    place = tmp_path_factory.mktemp("onnx")
    options = ["--out", str(place / "out"), "--more-steps", "2"]
    assert main(["export", "onnx", saved_model(place / "run", RECIPE, SHAPE), *options]) == 0
    return place / "out"


@pytest.fixture(scope="module")
def draw() -> ModuleType:
    """The module draw.py."""
    spec = importlib.util.spec_from_file_location("draw", onnx.FILES / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_draw(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_LIMPID, str(folder / "draw.py"), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def limpid_samples(recipe: Recipe, labels: list[int] | None, seeds: tuple[int, ...] = SEEDS) -> np.ndarray:
    return final_step(random_pipeline(recipe, SHAPE).trajectory(seeds, labels=labels)).x.numpy()


def test_draw_samples_from_a_seed_what_limpid_samples_from_it(folder: Path):
    options = ["--n", "3", "--seed", "5", "--labels", "dog", "2", "--save", "samples.npy", "--out", "samples.png"]
    done = run_draw(folder, *options)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(folder / "samples.npy"), limpid_samples(RECIPE, [1, 1, 2]), atol=2e-5, rtol=0)


def test_draw_takes_another_number_of_steps_and_noise_from_a_file(folder: Path, draw: ModuleType):
    np.save(folder / "noise.npy", np.stack([next(draw.torch_noise(seed, SHAPE)) for seed in SEEDS])[None])
    options = ["--n", "3", "--noise", "noise.npy", "--sampler", "1", "--labels", "none", "--save", "samples.npy"]
    done = run_draw(folder, *options)
    assert done.returncode == 0, done.stderr
    recipe = replace(RECIPE, sampling=replace(SAMPLING, steps=2, guidance=Guidance()))
    np.testing.assert_allclose(np.load(folder / "samples.npy"), limpid_samples(recipe, None), atol=2e-5, rtol=0)


def test_a_learned_variance_and_a_second_network_as_guide_are_exported_too(tmp_path: Path):
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


def test_a_sampler_that_is_no_table_is_refused_before_anything_is_written(
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


def test_draw_names_the_classes_where_it_is_given_none_of_them(folder: Path):
    done = run_draw(folder, "--labels", "ant")
    assert (done.returncode, done.stderr) == (1, f"draw.py: no class 'ant': choose from {', '.join(NAMES)}\n")


def test_the_images_are_a_png_that_pillow_reads(folder: Path, draw: ModuleType, tmp_path: Path):
    from PIL import Image

    for channels, mode in ((1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
        (tmp_path / "image.png").write_bytes(draw.png(pixels))
        with Image.open(tmp_path / "image.png") as image:
            assert image.mode == mode
            assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_the_network_takes_batches_of_any_size_with_a_level_for_each_image(folder: Path):
    session, model = onnxruntime.InferenceSession(folder / "denoiser.onnx"), random_pipeline(RECIPE, SHAPE).model
    for n in (1, 7, 64):
        x, labels = torch.randn(n, *SHAPE), torch.randint(0, 4, (n,))
        alpha, sigma = torch.rand(2, n, dtype=torch.float64) + 0.1
        inputs = {"x": x, "alpha": alpha, "sigma": sigma, "labels": labels}
        (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        with torch.no_grad():
            torch.testing.assert_close(
                torch.from_numpy(found), model(x, Level(alpha, sigma), labels), rtol=0, atol=1e-5
            )


def test_the_network_holds_no_path_of_this_machine_and_is_of_opset_20(folder: Path):
    import onnx as library

    content = (folder / "denoiser.onnx").read_bytes()
    assert str(REPOSITORY).encode() not in content
    assert b"site-packages" not in content
    assert library.load_from_string(content).opset_import[0].version == 20


NODE = """
import { readFileSync } from "node:fs";
const [folder, seeds, labels] = [process.argv[2], JSON.parse(process.argv[3]), JSON.parse(process.argv[4])];
const { batchNoise } = await import(`${folder}/noise.mjs`);
const { predictor, sample } = await import(`${folder}/sampler.mjs`);
const spec = JSON.parse(readFileSync(`${folder}/sampler.json`));
const run = async (x, row, labels, weaker) => {
  const x0 = x.map((value, i) => Math.tanh((row.alpha * value) / (1 + row.sigma)) + labels[Math.floor(i / 64)] / 3);
  return [x0, x.map((value) => 1 / (1 + Math.exp(-value)))];
};
const noise = batchNoise(seeds, spec.image_shape);
for await (const step of sample(spec.samplers[0].rows, predictor(spec, labels, run), noise)) {
  if (step.x) console.log(JSON.stringify([...step.x]));
}
"""


def stub_session() -> Any:
    """The network of `NODE`, as a session of onnxruntime gives its outputs."""

    class Stub:
        def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            x, alpha, sigma, labels = (inputs[name] for name in ("x", "alpha", "sigma", "labels"))
            alpha, sigma, labels = (value.reshape(-1, 1, 1, 1) for value in (alpha, sigma, labels))
            x0 = (np.tanh(alpha * x / (1 + sigma)) + labels / 3).astype(np.float32)
            return [x0, (1 / (1 + np.exp(-np.clip(x, -60, 60)))).astype(np.float32)]

    return Stub()


@pytest.mark.parametrize(
    "sampling",
    [
        replace(SAMPLING, clip_denoised=False),
        Sampling(5, DpmSolverPP(2, sde=True), Karras(sigma_min=0.05)),
        Sampling(5, Ancestral("learned"), Cosine(50)),
    ],
    ids=lambda one: type(one.sampler).__name__,
)
def test_the_page_samples_under_node_what_draw_samples(
    sampling: Sampling, draw: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed")
    pipeline = random_pipeline(replace(RECIPE, sampling=sampling), SHAPE)
    exported = onnx.OnnxModel(pipeline.model, pipeline.recipe, SHAPE, NAMES)
    spec = json.loads(onnx.spec_text(onnx.sampler_spec(exported, [sampling])))
    (tmp_path / "sampler.json").write_text(json.dumps(spec))
    for name in ("sampler.mjs", "noise.mjs"):
        shutil.copy(onnx.FILES / name, tmp_path)
    (tmp_path / "run.mjs").write_text(NODE)
    command = [node, str(tmp_path / "run.mjs"), str(tmp_path), "[5,6,7]", "[0,1,2]"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(draw.onnxruntime, "InferenceSession", lambda *_, **__: stub_session())
    predict = draw.onnx_predict(spec, np.array([0, 1, 2]))
    expected = draw.sample(spec["samplers"][0]["rows"], predict, draw.batch_noise(list(SEEDS), SHAPE))
    np.testing.assert_allclose(np.array(json.loads(done.stdout)).reshape(3, *SHAPE), expected, atol=2e-5, rtol=0)


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """The address of a server of the folder, with the runtime beside the page."""
    if not (NPM / "onnxruntime-web").is_dir():
        pytest.skip("onnxruntime-web is not in .cache/npm: npm install --prefix .cache/npm onnxruntime-web")
    (folder / "node_modules").symlink_to(NPM)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_page_samples_in_a_browser_what_limpid_samples(address: str):
    playwright = pytest.importorskip("playwright.sync_api")
    if not (chromium := shutil.which("chromium")):
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#start:enabled")
        page.fill("#count", "3")
        page.fill("#seed", "5")
        page.click("#start")
        page.wait_for_function("/images in|stopped/.test(document.getElementById('message').textContent)")
        shown = page.evaluate(
            "[...document.querySelectorAll('canvas')].map(c => [...c.getContext('2d').getImageData(0, 0, 8, 8).data])"
        )
        browser.close()
    expected = random_pipeline(RECIPE, SHAPE).sample(3, seed=5, labels=[0, 1, 2])
    found = np.array(shown).reshape(3, 8, 8, 4)[..., :1]
    assert np.abs(found - np.asarray(expected).astype(int)).max() <= 1
