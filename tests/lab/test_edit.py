"""The view Edit: its results are those of the command's functions, and its mistakes get one line."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from random_models import EPS, saved_model
from starlette.testclient import TestClient

from limpid.cli.main import main
from limpid.data import Digits
from limpid.data.readers.scan import read_image
from limpid.diffusion.samplers import Ddim
from limpid.lab.app import create_app
from limpid.lab.edit import EditQuery, edit_parameters
from limpid.lab.edit_job import run_edit_job
from limpid.lab.sample import ModelQuery
from limpid.lab.workspace import Workspace
from limpid.sampling.pipeline import load
from limpid.sampling.same_edits import EditSettings

RECIPE = replace(EPS, data=Digits(size=8), class_conditional=True, label_dropout=0.1)
IMAGE = torch.arange(64, dtype=torch.uint8).mul(4).view(1, 1, 8, 8)
MASK = torch.arange(8).repeat(8, 1) > 3


def base64_of(tensor: torch.Tensor) -> str:
    return base64.b64encode(tensor.numpy().tobytes()).decode()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved_model(tmp_path_factory.mktemp("run"), RECIPE, (1, 8, 8))


@pytest.fixture(scope="module")
def client(model: str) -> Iterator[TestClient]:
    app = create_app(Workspace((Path(model),)), "token", 80)
    headers = {"x-limpid-token": "token", "host": "127.0.0.1:80"}
    with TestClient(app, base_url="http://127.0.0.1:80", headers=headers) as client:
        yield client


def post(client: TestClient, name: str, query: Any, status: int = 200) -> Any:
    answer = client.post(f"/api/{name}", content=json.dumps(query))
    assert answer.status_code == status, answer.text
    return answer.json()


def query_of(model: str, index: int = -1, **changes: Any) -> EditQuery:
    settings = EditSettings("img2img", n=3, seed=5, second_seed=9, label="dog", steps=4, resample=2, sampler=Ddim())
    return EditQuery(ModelQuery(model), replace(settings, **changes), base64_of(IMAGE), base64_of(MASK), index)


@pytest.mark.parametrize("edit", ["img2img", "inpaint", "interpolate"])
def test_the_result_is_that_of_the_functions_and_the_command_that_are_shown(
    edit: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reports: list[Any] = []
    parameters = edit_parameters(Workspace((Path(model),)), query_of(model, edit=edit))
    result = run_edit_job(json.loads(json.dumps(parameters)), tmp_path, reports.append)
    with np.load(tmp_path / "0" / "samples.npz") as arrays:
        found = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2)
    pipeline, settings = load(model), {"labels": "dog", "steps": 4}
    expected = {
        "img2img": lambda: pipeline.img2img(IMAGE.expand(3, -1, -1, -1), seed=5, sampler=Ddim(), **settings).pixels,
        "inpaint": lambda: pipeline.inpaint(IMAGE, MASK, seed=5, num_variations=3, resample=2, **settings).pixels,
        "interpolate": lambda: pipeline.interpolate_seeds(5, 9, 3, sampler=Ddim(), **settings),
    }[edit]()
    assert torch.equal(found, expected)
    assert {"image.png", "mask.png"} & {file.name for file in (tmp_path / "0").iterdir()} == {
        "img2img": {"image.png"},
        "inpaint": {"image.png", "mask.png"},
        "interpolate": set(),
    }[edit]
    assert reports[-1]["total"] >= reports[-1]["done"] > 0
    monkeypatch.chdir(tmp_path / "0")  # where the downloads are
    scope: dict[str, Any] = {}
    exec(result["python"], scope)
    assert torch.equal(scope["pixels"] if edit == "interpolate" else scope["samples"].pixels, expected)
    assert main([*result["command"].split()[1:], "--out", "sheet.png", "--threads", "1"]) == 0


def test_an_image_of_the_training_data_is_named_by_its_index_in_the_command_and_in_python(model: str):
    call = edit_parameters(Workspace((Path(model),)), query_of(model, index=7))["call"]
    assert call["image"] == "7"


def test_a_file_of_any_size_is_fitted_as_the_data_is(client: TestClient, model: str, tmp_path: Path):
    file = tmp_path / "wide.jpg"
    Image.fromarray(np.kron(np.eye(2, 4), np.full((40, 40), 255)).astype(np.uint8)).convert("RGB").save(file)
    query = {"model": {"model": model}, "content": base64.b64encode(file.read_bytes()).decode()}
    assert post(client, "edit/file", query) == {"pixels": base64_of(read_image(file, (1, 8, 8)))}


def test_the_images_of_the_training_data_are_those_of_limpid_edit(client: TestClient, model: str):
    first = post(client, "edit/images", {"model": model})
    assert (first["count"], len(first["pixels"]), first["names"][:3]) == (1797, 24, ["0", "1", "2"])
    one = post(client, "edit/image", {"model": {"model": model}, "index": 3})
    assert one == {"pixels": first["pixels"][3], "name": "3"}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"n": 65}, "request.settings.n 65: expected 1 to 64"),
        ({"steps": 10**9}, "request.settings.steps 1000000000: expected 1 to 1,000"),
        ({"resample": 0}, "request.settings.resample 0: expected 1 to 20"),
        ({"strength": 1.5}, "request.settings.strength 1.5: expected a number from 0 (the image) to 1 (noise)"),
        ({"edit": "paint"}, "request.settings.edit is 'paint': expected one of 'img2img', 'inpaint', 'interpolate'"),
        ({"label": "whale"}, "no class 'whale': choose from cat, dog, owl"),
        ({"pixels": ""}, "no image to edit: choose one"),
        ({"pixels": "AAAA"}, "the image has 3 values: expected 1 x 8 x 8"),
        ({"pixels": "?"}, "request.pixels is '?': expected base64"),
        ({"edit": "inpaint", "mask": base64_of(torch.zeros(64, dtype=torch.uint8))}, "the mask covers nothing"),
        ({"edit": "inpaint", "mask": base64_of(torch.ones(64, dtype=torch.uint8))}, "the mask covers everything"),
        ({"edit": "inpaint", "mask": ""}, "the mask covers nothing"),
        ({"edit": "inpaint", "mask": "AAEB"}, "the mask has 3 values: expected 8 x 8"),
        ({"model": {"model": "../secret"}}, "no model '../secret'"),
        ({"seed": 1e40}, "request.settings.seed is 1e+40"),
        ({"pixels": "A" * 2**23}, "the request is longer than 8,388,608 bytes"),
    ],
)
def test_what_cannot_be_edited_is_answered_before_it_is_a_job(client: TestClient, model: str, change: Any, line: str):
    query = {"model": {"model": model}, "pixels": base64_of(IMAGE)}
    query |= {name: change[name] for name in ("model", "pixels", "mask") if name in change}
    settings = {"edit": "img2img"} | {name: value for name, value in change.items() if name not in query}
    assert line in post(client, "jobs/edit", query | {"settings": settings}, 400)["error"]


@pytest.mark.parametrize(
    ("name", "query", "line"),
    [
        ("image", {"index": -1}, "no image -1: the data set has 1,797, numbered from 0"),
        ("image", {"index": 1797}, "no image 1797: the data set has 1,797, numbered from 0"),
        ("file", {"content": base64.b64encode(b"no image").decode()}, "it is in no known format"),
        ("file", {"content": ""}, "it is"),
    ],
)
def test_what_is_no_image_gets_one_line(client: TestClient, model: str, name: str, query: Any, line: str):
    error = post(client, f"edit/{name}", {"model": {"model": model}} | query, 400)["error"]
    assert line in error
    assert "\n" not in error
