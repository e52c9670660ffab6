"""The web page of a folder that was exported to ONNX gives the samples of limpid, under node and in a browser."""

import functools
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from onnx_exports import RECIPE, SAMPLING, SEEDS, SHAPE
from random_models import NAMES, random_pipeline

from limpid.diffusion.samplers import Ancestral, DpmSolverPP
from limpid.diffusion.schedules import Cosine, Karras
from limpid.interop import onnx
from limpid.recipes.recipe import Sampling

NPM = REPOSITORY / ".cache" / "npm" / "node_modules"


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
def address(exported: Path) -> Iterator[str]:
    """The address of a server of the folder, with the runtime beside the page."""
    if not (NPM / "onnxruntime-web").is_dir():
        pytest.skip("onnxruntime-web is not in .cache/npm: npm install --prefix .cache/npm onnxruntime-web")
    (exported / "node_modules").symlink_to(NPM)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(exported))) as server:
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
