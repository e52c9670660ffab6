"""The view Compare: the table of `limpid compare`, and the nearest training images of a sample."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from scored_runs import write_run
from starlette.testclient import TestClient

from limpid.data import Digits
from limpid.evaluation.compare import compare
from limpid.lab.app import create_app
from limpid.lab.workspace import Workspace

DIGITS = Digits(size=8).open("cpu").pixels


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("compared")
    new = {"a": write_run(folder / "a", 10.0), "b": write_run(folder / "b", 14.0)}
    return new | {"other": write_run(folder / "other", 9.0, n=50), "none": write_run(folder / "none", None)}


@pytest.fixture(scope="module")
def client(runs: dict[str, str]) -> Iterator[TestClient]:
    app = create_app(Workspace(tuple(map(Path, runs.values()))), "token", 80)
    headers = {"x-limpid-token": "token", "host": "127.0.0.1:80"}
    with TestClient(app, base_url="http://127.0.0.1:80", headers=headers) as client:
        yield client


def post(client: TestClient, name: str, query: Any, status: int = 200) -> Any:
    answer = client.post(f"/api/compare/{name}", content=json.dumps(query))
    assert answer.status_code == status, answer.text
    return answer.json()


def nearest_to(client: TestClient, model: str, pixels: torch.Tensor) -> Any:
    encoded = base64.b64encode(pixels.numpy().tobytes()).decode()
    return post(client, "nearest", {"model": {"model": model}, "pixels": encoded})


def test_only_models_with_scores_are_offered_for_a_comparison(client: TestClient, runs: dict[str, str]):
    scored = {each["name"]: each["scored"] for each in post(client, "models", {})["models"]}
    assert {name: scored[path] for name, path in runs.items()} == {"a": True, "b": True, "other": True, "none": False}


def test_the_table_has_the_numbers_and_the_verdicts_that_limpid_compare_prints(
    client: TestClient, runs: dict[str, str]
):
    printed = str(compare(runs["a"], runs["b"])).splitlines()
    answer = post(client, "pair", {"a": runs["a"], "b": runs["b"]})
    rows = [
        " ".join([row["name"], *row["values"], " .. ".join(row["interval"]), row["verdict"]]) for row in answer["rows"]
    ]
    assert printed[: len(answer["about"])] == answer["about"]
    assert [" ".join(line.split()) for line in printed[-3:]] == [" ".join(row.split()) for row in rows]
    assert [row["verdict"] for row in answer["rows"]] == ["A is better", "within the noise", ""]


def test_runs_of_two_protocols_and_runs_without_scores_get_the_line_of_the_command(
    client: TestClient, runs: dict[str, str]
):
    line = post(client, "pair", {"a": runs["a"], "b": runs["other"]}, 400)["error"]
    assert "have different protocols (n " in line
    assert "no scores at" in post(client, "pair", {"a": runs["a"], "b": runs["none"]}, 400)["error"]


def test_a_training_image_is_its_own_nearest_and_so_is_its_mirror_image_where_the_recipe_flips(
    client: TestClient, runs: dict[str, str]
):
    for pixels, mirrored in ((DIGITS[5], False), (DIGITS[5].flip(2), True)):
        answer = nearest_to(client, runs["a"], pixels)
        first = answer["nearest"][0]
        assert (first["index"], first["mirrored"], first["distance"], first["name"]) == (5, mirrored, "0.000", "5")
        assert base64.b64decode(first["pixels"]) == pixels.contiguous().numpy().tobytes()
        assert (answer["ratio"], answer["neighbours"], answer["count"], len(answer["nearest"])) == (0, 50, 1797, 8)


def test_the_nearest_images_are_those_of_all_distances_in_pixels(client: TestClient, runs: dict[str, str]):
    sample = torch.arange(64, dtype=torch.uint8).mul(4).view(1, 8, 8)
    rows = torch.cat([DIGITS, DIGITS.flip(3)]).flatten(1).double()
    distances = (rows - sample.flatten().double()).norm(dim=1).sort().values[:50]
    answer = nearest_to(client, runs["a"], sample)
    assert [float(each["distance"]) for each in answer["nearest"]] == pytest.approx(distances[:8].tolist(), rel=1e-3)
    assert answer["ratio"] == pytest.approx((distances[0] / distances.mean()).item())


def test_an_image_of_another_shape_and_an_unknown_model_are_refused_in_one_line(
    client: TestClient, runs: dict[str, str]
):
    query = {"model": {"model": runs["a"]}, "pixels": "AAAA"}
    assert post(client, "nearest", query, 400) == {"error": "the image has 3 values: expected 1 x 8 x 8"}
    assert "no model 'x'" in post(client, "nearest", query | {"model": {"model": "x"}}, 400)["error"]
