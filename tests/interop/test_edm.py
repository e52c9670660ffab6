"""EDM's pickles give in limpid what EDM's own code gives (see `make_originals.py`)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from edm_snapshots import KINDS, ORIGINALS, edm_snapshot
from originals import inputs
from persistent_pickles import write_pickle
from PIL import Image

from limpid.cli.main import main
from limpid.data import Folder
from limpid.diffusion.level import Level
from limpid.interop.foreign import read_foreign
from limpid.interop.foreign_model import ForeignOptions
from limpid.recipes.recipe import build_denoiser
from limpid.sampling.pipeline import load


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
def test_a_denoiser_has_the_outputs_of_edms_own_code(name: str, tmp_path: Path):
    path = write_pickle(tmp_path / "network-snapshot-000001.pkl", edm_snapshot(name))
    model = read_foreign(path, ForeignOptions())
    denoiser = build_denoiser(model.recipe, model.image_shape, len(model.class_names)).eval()
    denoiser.net.load_state_dict(dict(model.tensors["ema"]))
    x, t, labels = inputs()
    sigma = model.recipe.schedule((t + 1).double() / 1000).edm_sigma.float() if name == "iddpm" else t / 10
    x0 = denoiser(x, Level(torch.ones(2), sigma), labels if model.class_names else None)
    expected = torch.tensor(ORIGINALS[f"edm, {name}"]["answers"])
    torch.testing.assert_close(x0[:, :, 5, 9].flatten(), expected, rtol=0, atol=2e-5)


def test_a_pickle_is_sampled_from_directly_and_after_an_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    file = str(write_pickle(tmp_path / "network.pkl", edm_snapshot("ddpm++")))
    assert main(["import", file, "--run", "run", "--classes", "cat", "dog", "owl"]) == 0
    assert "limpid sample run" in capsys.readouterr().out
    samples = [load(path).sample(2, labels=0, steps=3) for path in (file, "run")]
    torch.testing.assert_close(samples[0].pixels, samples[1].pixels, rtol=0, atol=0)
    assert load("run").class_names == ("cat", "dog", "owl")
    for sampler in ("Heun", "Ddim", "DpmSolverPP", "UniPC"):
        words = ["--n", "2", "--steps", "3", "--sampler", sampler, "--out", sampler, "--labels", "dog"]
        assert main(["sample", "run", *words]) == 0, sampler


def test_a_pickle_is_used_for_edits_likelihoods_and_fine_tuning_with_images_of_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "data"))
    file = str(write_pickle(tmp_path / "network.pkl", edm_snapshot("ncsn++")))
    assert load(file).recipe.data == Folder(size=16)
    (tmp_path / "images").mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (12, 16, 16, 3), np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    images = ["--data.root", "images"]
    assert main(["edit", "img2img", file, *images, "--steps", "2"]) == 0
    assert main(["likelihood", file, *images, "--n", "2", "--num-levels", "2"]) == 0
    assert "bits/dim" in capsys.readouterr().out
    assert main(["import", file, "--run", "run"]) == 0
    words = ["--duration", "4", "--batch-size", "4", "--sampling.steps", "2", "--every.sample", "0", "--run", "tuned"]
    assert main(["train", "run", "--init", file, *images, *words]) == 0
    assert load("tuned").images_seen == 4
