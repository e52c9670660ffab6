"""Nobody but the lab's own page is answered: other hosts, other pages, no token, other paths, absurd requests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from limpid.lab.app import create_app
from limpid.lab.workspace import Workspace

PORT, TOKEN = 8123, "token-of-this-start"
OWN = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Workspace(), TOKEN, PORT), base_url=OWN, headers={"x-limpid-token": TOKEN}) as client:
        yield client


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8123", "127.0.0.1", "127.0.0.1:80", "[::1]:8123", ""])
def test_another_host_is_refused(client: TestClient, host: str):
    assert client.get("/", headers={"host": host}).status_code == 403
    assert client.post("/api/noise/sources", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:80", "https://127.0.0.1:8123", ""])
def test_another_page_is_refused(client: TestClient, origin: str):
    assert client.get("/", headers={"origin": origin}).status_code == 403
    assert client.post("/api/noise/sources", headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + " ", TOKEN[:-1], "ü"])
def test_data_needs_the_token(client: TestClient, token: str):
    for address in ("/api/events", "/api/noise/sources", "/api/nothing"):
        answer = client.post(address, headers=[(b"x-limpid-token", token.encode())])
        assert answer.status_code == 403
        assert "token" in answer.json()["error"]


def test_a_token_in_the_address_opens_the_page_alone(client: TestClient):
    with TestClient(client.app, base_url=OWN) as stranger:
        assert stranger.get(f"/?token={TOKEN}").status_code == 200
        assert stranger.post(f"/api/noise/sources?token={TOKEN}").status_code == 403


@pytest.mark.parametrize(
    "path",
    ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/%2e%2e%2f%2e%2e%2fcli/main.py", "//etc/passwd", "/..\\app.py"],
)
def test_no_path_outside_the_page_is_served(client: TestClient, path: str):
    assert client.get(path).status_code in (400, 404)


def test_every_answer_forbids_what_is_from_elsewhere(client: TestClient):
    for answer in (
        client.get("/"),
        client.get("/app.js"),
        client.get("/nothing"),
        client.get("/", headers={"host": ""}),
    ):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_not_there_is_answered_in_one_line(client: TestClient):
    assert client.get("/nothing.js").json() == {"error": "/nothing.js: Not Found"}
    assert client.post("/app.js").status_code == 405


def test_the_page_names_nothing_from_elsewhere():
    page = Path(__file__).parents[2] / "src" / "limpid" / "lab" / "page"
    for file in page.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text, file
        assert "https:" not in text, file
