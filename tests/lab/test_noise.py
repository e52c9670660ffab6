"""What the view Noise is answered: levels of every schedule, exact denoisers, and one line for what is wrong."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from starlette.testclient import TestClient

from limpid.diffusion.schedules import Continuous, Discrete
from limpid.lab.app import create_app
from limpid.lab.workspace import Workspace

DIGIT = {"source": "digits", "index": 3, "seed": 1}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(
        create_app(Workspace(), "token", 80),
        base_url="http://127.0.0.1:80",
        headers={"x-limpid-token": "token", "host": "127.0.0.1:80"},
    ) as client:
        yield client


def ask(client: TestClient, name: str, query: Any) -> Any:
    answer = client.post(f"/api/noise/{name}", content=json.dumps(query))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("kind", [kind.__name__ for kind in (*get_args(Discrete), *get_args(Continuous))])
def test_every_schedule_has_levels_from_clean_to_noise(client: TestClient, kind: str):
    levels = ask(client, "levels", {"schedule": kind})
    n = len(levels["u"])
    assert 900 < n == len(levels["alpha"]) == len(levels["beta"]) == len(levels["logsnr"]) <= 1001
    assert levels["alpha_bar"][0] > 0.99 > levels["alpha_bar"][-1]
    snr = [value for value in levels["logsnr"] if value is not None]
    assert snr == sorted(snr, reverse=True)


def test_the_exact_denoiser_sees_the_image_without_noise_and_all_images_in_pure_noise(client: TestClient):
    points = [ask(client, "denoise", {"image": DIGIT, "u": u})["points"] for u in (0, 0.1, 0.5, 1)]
    assert points == sorted(points)
    assert points[0] == 1
    assert points[-1] > 1500


@pytest.mark.parametrize(
    ("name", "query", "line"),
    [
        (
            "levels",
            {"schedule": {"kind": "LinearBeta", "T": 10**9}},
            "LinearBeta.T 1000000000: expected 1 to 1,000,000 steps",
        ),
        (
            "levels",
            {"schedule": {"kind": "LinearBeta", "T": 1e30}},
            "request.schedule.T is 1e+30: expected a whole number",
        ),
        ("levels", {"schedule": "Cosin"}, "did you mean Cosine?"),
        ("levels", {"schedule": {"kind": "Cosine", "ofset": 1}}, "no field of request.schedule 'ofset'"),
        ("levels", {"schedule": {"kind": "LinearBeta", "beta_end": 7}}, "expected numbers that give alpha and sigma"),
        ("levels", {"schedule": {"kind": "os:system"}}, "request.schedule"),
        ("levels", {"schedules": "Cosine"}, "no field of request 'schedules'"),
        ("levels", [1], "expected a table of its fields"),
        ("image", DIGIT | {"index": 10**6}, "no image 1000000: the data set has 1,797, numbered from 0"),
        ("image", DIGIT | {"index": -1}, "no image -1"),
        ("image", DIGIT | {"seed": 10**40}, "request.seed is"),
        ("image", DIGIT | {"source": "/etc/passwd"}, "no data set '/etc/passwd': choose from digits"),
        ("denoise", {"image": DIGIT, "u": 2}, "request.u is 2: expected a number from 0 to 1"),
        ("denoise", {"image": DIGIT, "u": float("nan")}, "request.u is nan: expected a number"),
        ("denoise", {"image": DIGIT, "schedule": "LogNormal", "u": 1}, "infinite noise at u = 1"),
    ],
)
def test_what_is_wrong_is_answered_in_the_line_of_the_command(client: TestClient, name: str, query: Any, line: str):
    answer = client.post(f"/api/noise/{name}", content=json.dumps(query))
    assert answer.status_code == 400
    assert line in answer.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff", b'{"a": "' + b"x" * 300_000 + b'"}'])
def test_a_body_that_is_no_query_is_refused(client: TestClient, body: bytes):
    answer = client.post("/api/noise/levels", content=body)
    assert answer.status_code == 400
    assert "the request is" in answer.json()["error"]
