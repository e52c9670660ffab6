"""Models of the Hub, from a server on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hub_server import HubServer, hub_server
from random_models import random_pipeline
from tiny_recipes import TINY

import limpid
from limpid.cli.main import main
from limpid.runtime.device import Runtime
from limpid.storage.hub import MODEL_FILE, is_hub_name, pull

CPU = ["--device", "cpu", "--precision", "float32"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return random_pipeline(TINY).save(tmp_path_factory.mktemp("model") / MODEL_FILE).read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: bytes) -> Iterator[HubServer]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.repos["me/tiny"] = {MODEL_FILE: model}
        yield server


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_model_is_pulled_once_for_each_commit(hub: HubServer, model: bytes):
    file = pull("hf:me/tiny")
    assert file.read_bytes() == model
    assert pull("hf:me/tiny") == file == pull(f"hf:me/tiny@{hub.commit('me/tiny')}")
    assert sum("/resolve/" in path for path in hub.requests) == 1
    hub.repos["me/tiny"]["README.md"] = b"a new commit"
    assert pull("hf:me/tiny") != file
    assert file.exists()


def test_a_commit_that_is_in_the_cache_needs_no_server(hub: HubServer):
    commit = hub.commit("me/tiny")
    file = pull("hf:me/tiny")
    hub.requests.clear()
    assert pull(f"hf:me/tiny@{commit}") == file
    assert hub.requests == []


def test_the_commands_and_load_take_a_model_of_the_hub(hub: HubServer, capsys: pytest.CaptureFixture[str]):
    assert main(["sample", "hf:me/tiny", "--num-samples", "4", "--labels", "cat", "--steps", "2", *CPU]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["runs/hub/me/tiny/drawn/grid.png"]
    assert f"downloading hf:me/tiny from {hub.url}" in err
    images = ["--images", "runs/hub/me/tiny/drawn/grid.png"]
    assert main(["edit", "img2img", "hf:me/tiny", *images, "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines() == ["runs/hub/me/tiny/img2img.png"]
    pulled = limpid.load("hf:me/tiny", runtime=Runtime("cpu", "float32"))
    assert torch.equal(pulled.sample(2, steps=2).pixels, random_pipeline(TINY).sample(2, steps=2).pixels)


def test_evaluate_takes_a_model_of_the_hub(hub: HubServer, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", "hf:me/tiny", "--n", "1", "--reference", "Digits", *CPU]) == 2
    assert "too few to evaluate" in capsys.readouterr().err
    assert any("/resolve/" in path for path in hub.requests)


def test_without_the_server_the_cached_file_is_taken_with_a_message(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = pull("hf:me/tiny")
    capsys.readouterr()
    hub.broken = True
    assert pull("hf:me/tiny") == file
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert pull("hf:me/tiny") == file
    message = f"taking commit {hub.commit('me/tiny')[:12]} from the cache"
    assert message in capsys.readouterr().err
    assert main(["sample", "hf:me/other"]) == 2
    assert "and it is not in the cache" in capsys.readouterr().err.splitlines()[-1]


def test_offline_no_server_is_contacted(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    file = pull("hf:me/tiny")
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull("hf:me/tiny") == file
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set, and it is not in the cache"):
        pull("hf:me/other")
    assert hub.requests == []


@pytest.mark.parametrize("content", [b"no model", "cut", "changed"])
def test_a_broken_file_is_refused_and_leaves_nothing(
    hub: HubServer, model: bytes, content: bytes | str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    changed = model[:-1] + bytes([model[-1] ^ 1])
    hub.repos["me/tiny"][MODEL_FILE] = {"cut": model[:-100], "changed": changed}.get(str(content), b"no model")
    assert main(["sample", "hf:me/tiny"]) == 2
    assert f"hf:me/tiny: its {MODEL_FILE} is no intact checkpoint of limpid" in capsys.readouterr().err.splitlines()[-1]
    assert files(tmp_path) == []


def test_a_file_that_was_damaged_in_the_cache_is_pulled_again(hub: HubServer, model: bytes):
    file = pull("hf:me/tiny")
    os.truncate(file, 100)
    assert pull("hf:me/tiny").read_bytes() == model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:me/none", "no such model or revision .*set HF_TOKEN"),
        ("hf:me/tiny@v9", "no such model or revision"),
        ("hf:me/bare", f"no {MODEL_FILE} in it"),
        ("hf:tiny", "expected hf:user/name or hf:user/name@revision"),
        ("hf:me/tiny@../x", "expected hf:user/name or hf:user/name@revision"),
    ],
)
def test_a_missing_model_is_an_error_of_one_line(hub: HubServer, name: str, message: str):
    hub.repos["me/bare"] = {"README.md": b""}
    with pytest.raises(ValueError, match=message):
        pull(name)


def test_the_token_opens_a_private_model_and_stays_on_its_host(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    hub.private.add("me/tiny")
    with pytest.raises(ValueError, match="if it is private, set HF_TOKEN"):
        pull("hf:me/tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with hub_server() as storage:  # where the Hub keeps large files: another host
        storage.repos["me/tiny"] = hub.repos["me/tiny"]
        hub.redirect = f"{storage.url}/me/tiny/resolve/main/{MODEL_FILE}"
        assert pull("hf:me/tiny").is_file()
        assert storage.tokens == [None]
    assert hub.tokens[-1] == "Bearer hf_secret"


def test_an_address_that_is_not_of_the_web_is_refused(hub: HubServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(ValueError, match="HF_ENDPOINT"):
        pull("hf:me/tiny")
    assert not is_hub_name("runs/hf")
