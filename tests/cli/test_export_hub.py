"""`limpid export hub --push`, to a Hub on this machine, and what is pulled from it again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_server import HubServer, hub_server
from random_models import EPS, random_pipeline, saved_model
from tiny_recipes import TINY

import limpid
from limpid.cli.main import main
from limpid.interop.hub_push import push
from limpid.runtime.device import Runtime
from limpid.storage.hub import MODEL_FILE

# huggingface_hub uploads files in a way that its HTTP library warns of.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EXACT = ["--device", "cpu", "--precision", "float32"]
EXPORT = ["export", "hub", "tiny.safetensors", "--out", "out", *EXACT]
PUSH = [*EXPORT, "--push", "me/tiny"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    recipe = replace(TINY, sampling=replace(TINY.sampling, steps=2))
    return random_pipeline(recipe).save(tmp_path_factory.mktemp("model") / MODEL_FILE).read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: bytes) -> Iterator[HubServer]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # large files go by LFS
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("tiny.safetensors").write_bytes(model)
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line of a command that ends with exit code 2, and claims no push."""
    capsys.readouterr()
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert "/commit/" not in out
    last = err.splitlines()[-1]
    assert last.startswith("limpid: ")
    return last


def test_a_pushed_model_samples_as_its_float16_weights(hub: HubServer, capsys: pytest.CaptureFixture[str]):
    assert main(PUSH) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["out", f"{hub.url}/me/tiny/commit/{hub.commit('me/tiny')}"]
    assert "limpid sample hf:me/tiny" in err
    assert set(hub.repos["me/tiny"]) == {"README.md", MODEL_FILE, "recipe.json", "samples.png"}
    for name, content in hub.repos["me/tiny"].items():
        assert Path("out", name).read_bytes() == content
    assert b"hf:me/tiny" in hub.repos["me/tiny"]["README.md"]
    assert "me/tiny" not in hub.private
    assert main(["sample", "hf:me/tiny", "--out", "a.png", *EXACT]) == 0
    assert main(["sample", "out/limpid.safetensors", "--out", "b.png", *EXACT]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    runtime = Runtime("cpu", "float32")
    pulled, original = limpid.load("hf:me/tiny", runtime=runtime), limpid.load("tiny.safetensors", runtime=runtime)
    for name, weight in original.model.net.state_dict().items():
        original.model.net.state_dict()[name].copy_(weight.half().float())
    assert torch.equal(pulled.sample(4).pixels, original.sample(4).pixels)


def test_a_pushed_model_samples_offline_from_the_cache(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert main(PUSH) == 0
    limpid.load("hf:me/tiny")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.requests.clear()
    assert limpid.load("hf:me/tiny").images_seen == 0
    assert "HF_HUB_OFFLINE is set" in refused(PUSH, capsys)
    assert hub.requests == []


def test_a_file_that_breaks_on_the_hub_is_refused(hub: HubServer, capsys: pytest.CaptureFixture[str]):
    assert main(PUSH) == 0
    content = hub.repos["me/tiny"][MODEL_FILE]
    hub.repos["me/tiny"][MODEL_FILE] = content[:-1] + bytes([content[-1] ^ 1])
    assert f"its {MODEL_FILE} is no intact checkpoint" in refused(["sample", "hf:me/tiny"], capsys)


def test_without_a_server_nothing_is_pushed_and_one_line_states_it(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert "me/tiny at http://127.0.0.1:1: the push failed" in refused(PUSH, capsys)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.broken = True
    assert "the push failed" in refused(PUSH, capsys)
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/repos/create", 401, "set HF_TOKEN to a token with write access"),
        ("/repos/create", 403, "use one with write access to me"),
        ("/preupload/", 403, "use one with write access to me"),
        ("/large/", 403, "HTTP 403"),
        ("/commit/", 403, "use one with write access to me"),
        ("/commit/", 500, "complete or not there at all"),
    ],
)
def test_a_refused_push_states_what_to_do_and_leaves_no_file(
    hub: HubServer, capsys: pytest.CaptureFixture[str], path: str, status: int, message: str
):
    hub.refusals[path] = status
    assert message in refused(PUSH, capsys)
    assert not hub.repos.get("me/tiny")


def test_a_first_push_whose_commit_fails_names_the_empty_repository_which_the_same_command_fills(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
):
    hub.new_files, hub.refusals = {".gitattributes": b"*.safetensors filter=lfs"}, {"/commit/": 403}
    stays = "; the repository me/tiny is there, without files: the same command fills it"
    assert refused(PUSH, capsys).endswith(stays)
    hub.refusals = {"/large/": 403}
    with pytest.raises(ValueError, match=stays):
        push(Path("out"), [MODEL_FILE], "me/tiny")
    assert set(hub.repos["me/tiny"]) == {".gitattributes"}
    hub.refusals = {}
    push(Path("out"), [MODEL_FILE], "me/tiny")
    assert set(hub.repos["me/tiny"]) == {".gitattributes", MODEL_FILE}
    hub.refusals = {"/commit/": 403}
    with pytest.raises(ValueError, match=r"with write access to me, or push to your own name \(HTTP 403\)$"):
        push(Path("out"), ["README.md"], "me/tiny")


def test_a_wrong_token_and_none_at_all_are_a_line(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "the token is not accepted: set HF_TOKEN" in refused(PUSH, capsys)
    hub.requests.clear()
    monkeypatch.delenv("HF_TOKEN")
    assert "without a token: set HF_TOKEN" in refused(PUSH, capsys)
    assert hub.requests == []


def test_without_the_package_the_extra_is_named_before_any_work(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from limpid.interop import hub_push

    monkeypatch.setattr(hub_push, "find_spec", lambda name: None)
    assert "pip install 'limpid-diffusion[hub]'" in refused(PUSH, capsys)
    assert not Path("out").exists()
    assert main(EXPORT) == 0


def test_a_private_push_makes_a_private_repository_and_refuses_a_public_one(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
):
    assert main([*PUSH, "--private"]) == 0
    assert hub.private == {"me/tiny"}
    hub.repos["me/open"] = {}
    assert "me/open is public already" in refused([*EXPORT, "--push", "me/open", "--private"], capsys)
    assert hub.repos["me/open"] == {}


def test_a_second_push_replaces_the_first_and_removes_what_it_has_no_more(hub: HubServer, tmp_path: Path):
    eps = saved_model(tmp_path, replace(EPS, sampling=replace(EPS.sampling, steps=40)))
    assert main(["export", "hub", eps, "--out", "out", *EXACT, "--push", "me/tiny"]) == 0
    assert {"model_index.json", "unet/config.json"} < set(hub.repos["me/tiny"])
    hub.repos["me/tiny"]["notes.txt"] = b"the author's own"
    Path("out", "diary.txt").write_text("not to be uploaded")
    assert main(PUSH) == 0
    names = {"README.md", MODEL_FILE, "recipe.json", "samples.png", "notes.txt"}
    assert set(hub.repos["me/tiny"]) == names
