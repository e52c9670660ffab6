"""The runs of the lab: what may be started, what is read from their folders, and how a training process ends."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from limpid.data import Cifar10, Folder
from limpid.lab.app import create_app
from limpid.lab.runs import failure, summaries
from limpid.lab.workspace import Workspace
from limpid.recipes.registry import find_recipe
from limpid.recipes.serialize import to_dict
from limpid.storage.jsonl import read_jsonl_from
from limpid.storage.lock import exclusive, lock_holder

DEMO = find_recipe("demo")
LINE = {"images_seen": 128, "loss": 0.5, "lr": 0.1, "grad_norm": float("inf"), "images_per_second": 10.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, a link out of it, and an images folder beside it."""
    folder = tmp_path_factory.mktemp("lab")
    run = folder / "runs" / "a"
    (run / "samples").mkdir(parents=True)
    (run / "recipe.json").write_text(json.dumps(to_dict(DEMO)))
    (run / "log.jsonl").write_text(json.dumps(LINE) + "\n")
    (run / "samples" / "000000000128.png").write_bytes(b"a grid")
    (folder / "secret.png").write_bytes(b"secret")
    (run / "samples" / "000000000256.png").symlink_to(folder / "secret.png")
    (folder / "runs" / "out").symlink_to(folder)
    (folder / "images").mkdir()
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    app = create_app(Workspace((), (folder / "images",), folder / "runs"), "token", 80)
    headers = {"x-limpid-token": "token", "host": "127.0.0.1:80"}
    with TestClient(app, base_url="http://127.0.0.1:80", headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"name": "../b"}, "name '../b': expected letters"),
        ({"name": ""}, "name '': expected letters"),
        ({"name": "a"}, "is there already: choose another name"),
        ({"recipe": {"optimiser": {}}}, "no field of request.recipe 'optimiser'"),
        ({"recipe": to_dict(replace(DEMO, data=Folder(root="/etc")))}, "no request.recipe.data.root '/etc'"),
        ({"recipe": to_dict(replace(DEMO, data=Folder()))}, "no request.recipe.data.root ''"),
        ({"recipe": to_dict(replace(DEMO, data=Cifar10(root="/etc")))}, "no request.recipe.data.root '/etc'"),
        (
            {"recipe": to_dict(replace(DEMO, sampling=replace(DEMO.sampling, guidance_model="/etc/passwd")))},
            "no request.recipe.sampling.guidance_model '/etc/passwd'",
        ),
    ],
)
def test_a_run_that_may_not_be_started_is_answered_in_one_line(client: TestClient, change: Any, line: str):
    body = {"name": "new", "recipe": to_dict(DEMO)} | change
    answer = client.post("/api/training/start", content=json.dumps(body))
    assert answer.status_code == 400
    assert line in answer.json()["error"]


def test_labels_are_read_from_no_file_outside_the_images(client: TestClient, folder: Path):
    data = Folder(root=str(folder / "images"), labels=f"{folder / 'secret.png'}:x")
    answer = client.post(
        "/api/training/start", content=json.dumps({"name": "new", "recipe": to_dict(replace(DEMO, data=data))})
    )
    assert "expected a table that is among the images" in answer.json()["error"]


def test_every_run_of_the_folder_is_found_and_none_behind_a_link(folder: Path):
    found = summaries(Workspace(new_runs=folder / "runs"))
    run = found[str(folder / "runs" / "a")]
    assert list(found) == [run["name"]]
    assert (run["images_seen"], run["duration"], run["loss"], run["grids"]) == (128, DEMO.duration, 0.5, 2)
    assert (run["held_by"], run["error"]) == ("", "")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{"error": "no loss"}', "no loss"),
        ('{"error": 5}', ""),
        ("[]", ""),
        ("{", ""),
        ('{"error": "%s"}' % ("x" * 600), "x" * 500),
    ],
)
def test_a_run_that_failed_says_why_from_its_folder(tmp_path: Path, content: str, error: str):
    (tmp_path / "failure.json").write_text(content)
    assert failure(tmp_path) == error


def test_a_log_is_read_on_from_where_it_was_read_before_and_anew_once_it_is_replaced(client: TestClient, folder: Path):
    run, log = str(folder / "runs" / "a"), folder / "runs" / "a" / "log.jsonl"

    def read(**query: Any) -> Any:
        return client.post("/api/learn/log", content=json.dumps({"run": run} | query)).json()

    first = read()
    assert first["lines"] == [LINE | {"grad_norm": None}]  # JSON has no infinity
    assert read(version=first["version"], start=first["next"])["lines"] == []
    with log.open("a") as file:
        file.write(json.dumps(LINE | {"images_seen": 256}) + '\n{"images_seen": 3')
    second = read(version=first["version"], start=first["next"])
    assert [line["images_seen"] for line in second["lines"]] == [256]
    lines, damaged, after = read_jsonl_from(log, 0)
    assert (len(lines), damaged, after) == (2, 0, second["next"])
    with log.open("a") as file:
        file.write("\x00\n" + json.dumps(LINE | {"images_seen": 512}) + "\n")
    third = read(version=first["version"], start=second["next"])
    assert [line["images_seen"] for line in third["lines"]] == [512]
    assert third["damaged"] == 1
    assert read(version="another", start=second["next"])["start"] == 0


def test_grids_are_those_of_the_run_alone(client: TestClient, folder: Path):
    def grid(name: str) -> Any:
        return client.get("/api/grid", params={"run": str(folder / "runs" / "a"), "name": name})

    assert grid("000000000128").content == b"a grid"
    assert "is a link out of" in grid("000000000256").json()["error"]
    assert "no grid '../recipe'" in grid("../recipe").json()["error"]
    assert "no run" in client.get("/api/grid", params={"run": "/etc", "name": "passwd"}).json()["error"]


def test_who_holds_a_run_is_known_without_its_lock_and_a_process_that_has_ended_holds_none(tmp_path: Path):
    assert lock_holder(tmp_path) == ""
    with exclusive(tmp_path):
        assert f"pid {os.getpid()}" in lock_holder(tmp_path)
    assert lock_holder(tmp_path) == ""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "lock").write_text(f"somebody on {socket.gethostname()}, pid {ended.pid}, since now")
    assert lock_holder(tmp_path) == ""
    assert f"its process was killed, or ended with the machine: somebody on {socket.gethostname()}" in failure(tmp_path)
    (tmp_path / "lock").write_text(f"somebody on elsewhere, pid {ended.pid}, since now")
    assert "elsewhere" in lock_holder(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="when the machine was started is known on Linux")
def test_a_process_id_of_before_the_start_of_the_machine_holds_no_run(tmp_path: Path):
    lock = tmp_path / "lock"
    lock.write_text(f"somebody on {socket.gethostname()}, pid {os.getpid()}, since now")
    assert lock_holder(tmp_path)
    os.utime(lock, (0, 0))
    assert lock_holder(tmp_path) == ""
    assert f"pid {os.getpid()}" in failure(tmp_path)
