import hashlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from limpid.metrics.extractors import inception_weights
from limpid.metrics.extractors.inception import Inception
from limpid.metrics.extractors.inception_weights import FILENAMES, SHA256, URLS, find_inception_weights, load_inception

BODY = b"stands for 96 MB of weights"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of checkpoints of a torch that has none yet; BODY is the published file."""
    monkeypatch.setattr(inception_weights, "SHA256", hashlib.sha256(BODY).hexdigest())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return tmp_path / "torch" / "hub" / "checkpoints"


def written(path: Path, body: bytes = BODY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def test_the_published_names_carry_the_checksum():
    assert len(SHA256) == 64
    for name, url in zip(FILENAMES, URLS, strict=True):
        assert name.endswith(f"-{SHA256[:8]}.pth")
        assert url.startswith("https://github.com/")
        assert url.endswith(f"/{name}")


@pytest.mark.parametrize("name", FILENAMES)
def test_the_weights_are_found_where_torch_keeps_them_under_either_name(cache: Path, name: str):
    path = written(cache / name)
    assert find_inception_weights() == path


@pytest.mark.parametrize("name", FILENAMES)
def test_the_path_may_be_a_folder_or_a_file_of_any_name(cache: Path, tmp_path: Path, name: str):
    path = written(tmp_path / "mine" / name)
    assert find_inception_weights(str(tmp_path / "mine")) == path
    other = written(tmp_path / "inception.pth")
    assert find_inception_weights(str(other)) == other


def test_nothing_is_downloaded_to_a_path_that_the_user_gave(cache: Path, tmp_path: Path):
    with pytest.raises(
        ValueError, match=f"no Inception weights at {tmp_path}: expected that file, or {FILENAMES[0]} or {FILENAMES[1]}"
    ):
        find_inception_weights(str(tmp_path))


def test_a_file_that_is_not_the_published_one_is_refused(cache: Path):
    path = written(cache / FILENAMES[0], BODY[:-1])
    found = hashlib.sha256(BODY[:-1]).hexdigest()
    with pytest.raises(ValueError, match=f"{path} is not the published Inception: its SHA-256 is {found}, expected "):
        find_inception_weights()


@pytest.mark.parametrize("first", [{"body": BODY}, {"body": b"", "status": 404}, {"body": b"other"}])
def test_missing_weights_are_downloaded_once_from_the_first_url_that_works(
    cache: Path, monkeypatch: pytest.MonkeyPatch, serve, first: dict
):
    monkeypatch.setattr(inception_weights, "URLS", (serve(**first), serve(BODY)))
    monkeypatch.setattr(inception_weights, "FILENAMES", ("file.tar.gz",))  # as the server calls it
    path = find_inception_weights()
    assert path.read_bytes() == BODY
    assert list(cache.iterdir()) == [path]
    monkeypatch.setattr(inception_weights, "URLS", ("a download would fail otherwise",))
    assert find_inception_weights() == path


def test_a_failed_download_is_refused_in_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch, serve):
    urls = serve(b"", status=503), serve(b"other")
    monkeypatch.setattr(inception_weights, "URLS", urls)
    with pytest.raises(ValueError, match=f"no Inception weights in {cache}, and cannot download {urls[0]}") as error:
        find_inception_weights()
    assert f"cannot download {urls[1]}: the file has the SHA256 checksum" in str(error.value)
    assert "give its path" in str(error.value)
    assert "\n" not in str(error.value)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("of_2019", [True, False])
def test_weights_are_loaded_from_either_format_of_torch_with_and_without_counts(
    tmp_path: Path, random_weights: dict[str, Tensor], network: Inception, of_2019: bool
):
    path = tmp_path / "inception.pth"
    counts = {name: n for name, n in Inception().state_dict().items() if of_2019 and name.endswith("tracked")}
    torch.save(OrderedDict(random_weights | counts), path, _use_new_zipfile_serialization=not of_2019)
    x = torch.rand(1, 3, 299, 299) * 2 - 1
    assert_close(load_inception(path)(x), network(x), rtol=1e-4, atol=1e-5)


def shaped() -> dict[str, Tensor]:
    """Zeros of every shape of the published file, in a file of a few bytes each."""
    state = Inception().state_dict().items()
    return {name: torch.zeros(()).expand(weights.shape) for name, weights in state if not name.endswith("tracked")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.bias": None}, "1 tensors missing, as fc.bias$"),
        ({"AuxLogits.fc.bias": torch.zeros(1000)}, "1 tensors unexpected, as AuxLogits.fc.bias$"),
        ({"fc.weight": torch.zeros(1, 1).expand(1000, 2048)}, "1 tensors of another shape, as fc.weight$"),
        ({"fc.bias": None, "bias": torch.zeros(1)}, "1 tensors missing, as fc.bias; 1 tensors unexpected, as bias$"),
    ],
    ids=["missing", "unexpected", "of another shape", "renamed"],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, change: dict[str, Tensor | None], message: str):
    path = tmp_path / "other.pth"
    torch.save({name: tensor for name, tensor in (shaped() | change).items() if tensor is not None}, path)
    with pytest.raises(ValueError, match=f"{path} does not hold the weights of Inception: {message}"):
        load_inception(path)


class Code:
    """An object that a weight file must not contain."""


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"fc.bias": 1.0}, Code()], ids=["list", "number", "code"])
def test_a_file_of_other_content_is_refused_in_one_line(tmp_path: Path, content: object):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=f"cannot read the weights in {path}: ") as error:
        load_inception(path)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path):
    path = written(tmp_path / "other.pth", b"")
    with pytest.raises(ValueError, match=f"cannot read the weights in {path}: "):
        load_inception(path)
    torch.save({"fc.bias": torch.zeros(1008)}, path)
    written(path, path.read_bytes()[:500])
    with pytest.raises(ValueError, match=f"cannot read the weights in {path}: "):
        load_inception(path)
