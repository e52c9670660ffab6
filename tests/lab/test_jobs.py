"""Jobs: a bounded queue, one at a time in a process of its own, and one line for everything that goes wrong."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from limpid.diffusion.oracle import Gaussian
from limpid.diffusion.samplers import Heun
from limpid.diffusion.samplers.steps import SamplerStep
from limpid.diffusion.schedules import Karras, sampling_levels
from limpid.lab.app import create_app
from limpid.lab.events import Event
from limpid.lab.jobs import MAX_QUEUED, JobQueue
from limpid.lab.sample_job import frame_indices, states
from limpid.lab.workspace import Workspace
from limpid.recipes.serialize import to_dict
from limpid.sampling.checkpoints import PRETRAINED, find_checkpoint

SHIPPED = find_checkpoint("cifar10-small").about.recipe.sampling
QUERY = {"model": {"model": "cifar10-small"}, "n": 2, "settings": [to_dict(replace(SHIPPED, steps=2))]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A lab with a folder that holds a link out of it."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "out").symlink_to(Path(__file__).parents[2])
    app = create_app(Workspace((folder,)), "token", 80)
    headers = {"x-limpid-token": "token", "host": "127.0.0.1:80"}
    with (
        pytest.MonkeyPatch.context() as patch,
        TestClient(app, base_url="http://127.0.0.1:80", headers=headers) as client,
    ):
        patch.chdir(folder)  # where there is no folder of runs
        yield client


def setting(**changes: Any) -> dict[str, Any]:
    return {"settings": [to_dict(replace(SHIPPED, **changes))]}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"n": 10**9}, "samples 1000000000: expected 1 to 100"),
        ({"n": 0}, "samples 0: expected 1 to 100"),
        ({"n": "many"}, "request.n is 'many': expected a whole number"),
        ({"seed": 1e400}, "request.seed is inf"),
        ({"settings": []}, "settings 0: expected 1 to 3"),
        ({"settings": QUERY["settings"] * 4}, "settings 4: expected 1 to 3"),
        (setting(steps=10**12), "steps 1000000000000: expected 1 to 1,000"),
        (setting(guidance_model="/etc/passwd"), "no guidance model '/etc/passwd'"),
        ({"settings": ["Fast"]}, "request.settings[0] is 'Fast': expected a table of its fields"),
        ({"settings": [{"sampler": "Hein"}]}, "no request.settings[0].sampler 'Hein': choose from"),
        ({"settings": [{"guidance": {"scale": 1e9}}]}, "guidance scale 1e+09: expected a number from"),
        ({"weights": "best"}, "request.weights is 'best': expected one of 'ema', 'raw'"),
        ({"model": {"model": "../../secret"}}, "no model '../../secret': choose from cifar10-small"),
        (
            {"model": {"model": "cifar10-small", "checkpoint": "../../x.safetensors"}},
            "no checkpoint '../../x.safetensors'",
        ),
    ],
)
def test_what_cannot_be_sampled_is_answered_before_it_is_a_job(client: TestClient, change: Any, line: str):
    answer = client.post("/api/jobs/sample", content=json.dumps(QUERY | change))
    assert answer.status_code == 400
    assert line in answer.json()["error"]


def test_a_link_out_of_a_named_folder_is_not_followed(client: TestClient):
    models = client.post("/api/sample/form").json()["models"]
    assert [model["name"] for model in models] == list(PRETRAINED)


def test_of_a_hundred_jobs_a_bounded_number_waits_and_each_can_be_cancelled(client: TestClient):
    endless = json.dumps(QUERY | setting(steps=1000))
    answers = [client.post("/api/jobs/sample", content=endless) for _ in range(100)]
    accepted = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    assert MAX_QUEUED <= len(accepted) <= MAX_QUEUED + 2
    assert all("8 jobs are waiting" in answer.json()["error"] for answer in answers if answer.status_code != 200)
    assert {client.post(f"/api/jobs/{job}/cancel").json()["state"] for job in reversed(accepted)} <= {
        "cancelled",
        "done",
    }


@pytest.mark.parametrize(
    "path", ["nothing/0/atlas.png", "nothing/cancel", "..%2f..%2f/0/atlas.png", "nothing/-1/atlas.png"]
)
def test_a_file_of_no_job_is_not_there(client: TestClient, path: str):
    answer = client.post(f"/api/jobs/{path}") if path.endswith("cancel") else client.get(f"/api/jobs/{path}")
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]


def test_a_job_has_only_the_files_of_its_kind(client: TestClient):
    job = client.post("/api/jobs/sample", content=json.dumps(QUERY)).json()["id"]
    assert "choose from preview.png" in client.get(f"/api/jobs/{job}/0/worker.log").json()["error"]
    assert client.get(f"/api/jobs/{job}/0/..%2f..%2fworker.log").status_code in (400, 404)
    client.post(f"/api/jobs/{job}/cancel")


def test_a_job_whose_process_is_killed_fails_and_the_next_one_has_another(tmp_path: Path):
    parameters = {"path": "cifar10-small", "n": 1, "seed": 0, "labels": [], "weights": "ema"}
    endless, wrong = parameters | setting(steps=1000), parameters | setting(steps=2) | {"labels": ["whale"]}
    events: asyncio.Queue[Event] = asyncio.Queue()

    async def until(queue: JobQueue, job: str, state: str, after: Any = None) -> None:
        while not (queue.find(job).state == state and (after is None or queue.find(job).progress)):
            assert queue.find(job).state in ("queued", "running"), queue.find(job)
            await events.get()

    async def scenario() -> tuple[str, str]:
        queue = JobQueue(tmp_path, events.put_nowait)
        working = asyncio.create_task(queue.run())
        first = queue.submit("sample", endless)
        await until(queue, first.id, "running", after="progress")
        process = await queue.warm_up()
        os.kill(process.pid, signal.SIGKILL)
        await until(queue, first.id, "failed")
        second = queue.submit("sample", wrong)
        await until(queue, second.id, "failed")
        assert (await queue.warm_up()).pid != process.pid
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return first.error, second.error

    killed, refused = asyncio.run(asyncio.wait_for(scenario(), 120))
    assert killed.startswith("the process of the jobs ended by SIGKILL")
    assert refused.startswith("no class 'whale': choose from airplane")


def test_every_state_of_a_trajectory_is_beside_the_x0_that_is_predicted_from_it():
    denoise, levels = Gaussian(torch.zeros(1), torch.ones(1)), sampling_levels(Karras(), 4)
    x = torch.randn(3, 1)
    steps = [SamplerStep(x, torch.zeros_like(x), levels[0]), *Heun()(denoise, x, levels, lambda: x)]
    found = list(states(iter(steps)))
    assert len(found) == len(levels)
    for x, level, x0 in found[:-1]:
        torch.testing.assert_close(x0, denoise(x, level))
    assert found[-1][0] is found[-1][2]


def test_the_states_that_are_kept_begin_in_noise_end_in_the_sample_and_fit_one_image():
    assert frame_indices(6, 64, (3, 32, 32)) == [0, 1, 2, 3, 4, 5]
    many = frame_indices(1001, 64, (3, 32, 32))
    assert (many[0], many[-1], len(many)) == (0, 1000, 33)
    assert frame_indices(51, 100, (3, 256, 256)) == [0, 50]
