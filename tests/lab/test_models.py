"""The models of the lab: runs, checkpoints and folders of diffusers, and nothing that a link leads to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_models import EPS, saved_model

from limpid.cli.main import main
from limpid.diffusion.samplers import Ddim
from limpid.lab.models import find_models
from limpid.lab.sample import ModelQuery, SampleQuery, describe_model, job
from limpid.lab.sample_job import run_sample_job
from limpid.lab.workspace import Workspace
from limpid.recipes.recipe import Sampling
from limpid.sampling.checkpoints import PRETRAINED
from limpid.sampling.pipeline import load


def test_a_folder_of_diffusers_is_a_model_of_the_lab_and_its_samples_are_those_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    sampling = Sampling(2, Ddim())
    model, folder = saved_model(tmp_path / "other", replace(EPS, sampling=sampling)), tmp_path / "models" / "export"
    assert main(["export", "diffusers", model, "--out", str(folder)]) == 0
    (tmp_path / "models" / "link").symlink_to(tmp_path / "other")
    for named in (folder, tmp_path / "models"):
        assert list(find_models(Workspace((named,)))) == [*PRETRAINED, str(folder)]
    workspace = Workspace((folder,))
    about = describe_model(workspace, ModelQuery(str(folder)))
    assert about["shape"] == (3, 8, 8)
    parameters = job(workspace, SampleQuery(ModelQuery(str(folder)), (sampling,), n=3, seed=5))
    (tmp_path / "job").mkdir()
    run_sample_job(parameters, tmp_path / "job", lambda progress: None)
    with np.load(tmp_path / "job" / "0" / "samples.npz") as found:
        assert (found["images"] == np.asarray(load(folder).sample(3, seed=5))).all()


def test_a_folder_for_the_hub_is_a_model_of_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # elsewhere there may be a folder `runs`, whose models are found too
    for folder in ("hub", "hub/unet"):
        (tmp_path / folder).mkdir()
    for name in ("limpid.safetensors", "model_index.json", "unet/config.json"):
        (tmp_path / "hub" / name).touch()
    assert list(find_models(Workspace((tmp_path,)))) == [*PRETRAINED, str(tmp_path / "hub")]
