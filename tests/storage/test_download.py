import hashlib
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from limpid.storage.download import cache_dir, download

BODY = random.Random(0).randbytes(600_000)
MD5 = hashlib.md5(BODY).hexdigest()
CHECKSUM = f"md5:{MD5}"


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_download_is_complete_and_alone_in_its_new_folder(serve, tmp_path: Path):
    path = tmp_path / "new" / "folder" / "file.tar.gz"
    download(serve(BODY), CHECKSUM, path)
    assert path.read_bytes() == BODY
    assert files(tmp_path) == ["file.tar.gz"]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_checksum_names_its_kind(serve, tmp_path: Path, kind: str):
    right = hashlib.new(kind, BODY).hexdigest()
    download(serve(BODY), f"{kind}:{right}", tmp_path / "right")
    with pytest.raises(ValueError, match=f"has the {kind.upper()} checksum {right}, expected {right[::-1]}"):
        download(serve(BODY), f"{kind}:{right[::-1]}", tmp_path / "wrong")
    assert files(tmp_path) == ["right"]


def test_a_server_need_not_send_the_length_of_the_file(serve, tmp_path: Path):
    download(serve(BODY, length=0), CHECKSUM, tmp_path / "file.tar.gz")
    assert (tmp_path / "file.tar.gz").read_bytes() == BODY


def test_progress_is_shown_apart_from_the_output(serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    download(serve(BODY), CHECKSUM, tmp_path / "file.tar.gz")
    out, err = capsys.readouterr()
    assert out == ""
    assert "file.tar.gz" in err


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"body": BODY[:1000], "length": len(BODY)}, r"cut off after 1,000 of 600,000 bytes|IncompleteRead"),
        ({"body": BODY[::-1]}, f"has the MD5 checksum [0-9a-f]{{32}}, expected {MD5}"),
        ({"body": b"no such file", "status": 404}, "HTTP Error 404"),
        ({"body": b"", "status": 503}, "HTTP Error 503"),
    ],
    ids=["cut off", "other content", "not found", "not served"],
)
def test_a_download_that_fails_is_reported_in_a_line_and_leaves_no_file(
    serve, tmp_path: Path, answer: dict, message: str
):
    url = serve(**answer)
    with pytest.raises(ValueError, match=message) as error:
        download(url, CHECKSUM, tmp_path / "file.tar.gz")
    assert str(error.value).startswith(f"cannot download {url}: ")
    assert "\n" not in str(error.value)
    assert files(tmp_path) == []


def test_a_server_that_is_not_there_is_named(tmp_path: Path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.tar.gz"
        with pytest.raises(ValueError, match=f"cannot download {url}"):
            download(url, CHECKSUM, tmp_path / "file.tar.gz")
    assert files(tmp_path) == []


def test_a_server_that_stops_sending_times_out(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("limpid.storage.download.TIMEOUT", 0.2)
    over = threading.Event()
    url = serve(BODY[:1000], length=len(BODY), then=lambda: over.wait(10))
    with pytest.raises(ValueError, match="timed out"):
        download(url, CHECKSUM, tmp_path / "file.tar.gz")
    over.set()
    assert files(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupted_download_leaves_no_file(serve, tmp_path: Path):
    over = threading.Event()

    def interrupt() -> None:
        while not files(tmp_path):  # until the download is under way
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(10)

    url = serve(BODY[:1000], length=len(BODY), then=interrupt)
    # Programs that a shell starts in the background ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        download(url, CHECKSUM, tmp_path / "file.tar.gz")
    signal.signal(signal.SIGINT, before)
    over.set()
    assert files(tmp_path) == []


def test_an_earlier_file_stays_when_a_download_fails(serve, tmp_path: Path):
    path = tmp_path / "file.tar.gz"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match="checksum"):
        download(serve(b"other"), CHECKSUM, path)
    assert path.read_bytes() == b"older"


def test_a_folder_that_cannot_be_written_to_is_refused_in_one_line(serve, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot download"):
        download(serve(BODY), CHECKSUM, tmp_path / "file" / "file.tar.gz")


@pytest.mark.skipif(os.name == "nt", reason="the cache folder of POSIX")
def test_data_is_cached_in_limpid_data_or_else_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LIMPID_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / ".cache" / "limpid"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_dir() == tmp_path / "cache" / "limpid"
    monkeypatch.setenv("LIMPID_DATA", "~/data")
    assert cache_dir() == tmp_path / "data"
