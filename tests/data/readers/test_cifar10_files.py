"""Files of CIFAR-10 that are damaged or forged: refused in one line, run and followed nowhere."""

import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cifar10_sets import PICKLES, RECORDS, load, pack, write

from limpid.data import Cifar10


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def test_a_malicious_pickle_does_nothing_but_fail(tmp_path: Path):
    blob = pickle.dumps({b"data": Payload(tmp_path / "ran"), b"labels": []})
    write(tmp_path / PICKLES / "test_batch", blob)
    with pytest.raises(ValueError, match=r"test_batch is not a batch of CIFAR-10: it asks for '.*\.system'") as error:
        load(tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def pickled(n: int = 10_000, width: int = 3072, dtype: type = np.uint8, labels: object = None) -> bytes:
    given = [0] * n if labels is None else labels
    return pickle.dumps({b"data": np.zeros((n, width), dtype), b"labels": given}, protocol=4)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (lambda: b"", "is not a batch of CIFAR-10"),
        (lambda: b"not a pickle", "is not a batch of CIFAR-10"),
        (lambda: pickle.dumps([1, 2]), "is not a batch of CIFAR-10"),
        (lambda: pickle.dumps({b"fine_labels": []}), "is not a batch of CIFAR-10: b'data'"),
        (lambda: pickled()[:-10_000], "is not a batch of CIFAR-10"),
        (lambda: pickled(dtype=np.int16, width=100), "its array is not of uint8"),
        (lambda: pickled(n=10), r"pixels of shape \(10, 3072\): expected \(10000, 3072\)"),
        (lambda: pickled(width=1024), r"pixels of shape \(10000, 1024\)"),
        (lambda: pickled(labels=[0] * 9_999), "labels that are not 10000 whole numbers from 0 to 9"),
        (lambda: pickled(labels=[10] * 10_000), "labels that are not"),
        (lambda: pickled(labels=[-1] * 10_000), "labels that are not"),
        (lambda: pickled(labels=[0.5] * 10_000), "labels that are not"),
        (lambda: pickled(labels=[None] * 10_000), "labels that are not"),
        (lambda: pickled() + bytes(2**25), "longer than any file of the set"),
    ],
)
def test_a_file_that_is_no_batch_is_named(tmp_path: Path, blob: Callable[[], bytes], message: str):
    write(tmp_path / PICKLES / "test_batch", blob())
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    assert "test_batch" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_incomplete_file_of_records_is_refused(made, tmp_path: Path):
    for blob, message in (
        (made.records[:-1], "is not a batch"),
        (made.records[:-3073], r"pixels of shape \(9999, 3072\)"),
    ):
        write(tmp_path / RECORDS / "test_batch.bin", blob)
        with pytest.raises(ValueError, match=message):
            load(tmp_path)


def test_a_missing_batch_is_named(made, tmp_path: Path):
    write(tmp_path / RECORDS / "data_batch_1.bin", made.records)
    with pytest.raises(ValueError, match=r"cannot read .*data_batch_2\.bin"):
        Cifar10(root=str(tmp_path)).load()


def test_an_archive_is_read_only_where_it_is_what_it_should_be(made, tmp_path: Path):
    name = f"{PICKLES}/test_batch"
    path = pack(tmp_path / "cifar-10-python.tar.gz", {f"../{name}": made.pickled, f"./{name}x": made.pickled})
    with pytest.raises(ValueError, match=f"cannot read {path}: it has no {name}"):
        load(path)
    pack(path, {name: made.pickled + bytes(2**25)})
    with pytest.raises(ValueError, match="longer than any file of the set"):
        load(path)
    for broken in (b"", b"not an archive", pack(path, {name: made.pickled}).read_bytes()[:100_000]):
        write(path, broken)
        with pytest.raises(ValueError, match=f"cannot read {path}") as error:
            load(path)
        assert "\n" not in str(error.value)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path):
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo(f"{PICKLES}/test_batch")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(ValueError, match="it has no"):
        load(path)


def test_lists_of_labels_that_hold_one_another_are_refused(tmp_path: Path):
    """Ten lists of ten lists of ten..., nine times over, are a billion numbers in a few hundred bytes."""
    labels: list = [0]
    for _ in range(9):
        labels = [labels] * 10
    write(tmp_path / PICKLES / "test_batch", pickled(labels=labels))
    with pytest.raises(ValueError, match="labels that are not 10000 whole numbers"):
        load(tmp_path)


def test_reading_an_archive_that_is_a_bomb_stops_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("limpid.data.readers.cifar10_files.MAX_ARCHIVE_BYTES", 2**20)
    path = pack(tmp_path / "cifar-10-python.tar.gz", {"zeros": bytes(2**22)})
    with pytest.raises(ValueError, match=f"cannot read {path}: it is longer, decompressed, than the published archive"):
        load(path)
    pack(path, {str(i): b"" for i in range(1_002)} | {f"{PICKLES}/test_batch": b""})
    with pytest.raises(ValueError, match="it has no"):
        load(path)


def test_an_archive_whose_offsets_lead_in_a_circle_is_refused(tmp_path: Path):
    """A size below zero sends a reader that may seek back to the beginning, without end (CVE-2025-8194)."""
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("first"))
        entry = tarfile.TarInfo("circle")
        entry.pax_headers = {"size": "-1536"}
        tar.addfile(entry)
    with pytest.raises(ValueError, match=f"cannot read {path}"):
        load(path)


def test_a_pipe_in_the_place_of_a_batch_is_refused_at_once(made, tmp_path: Path):
    write(tmp_path / RECORDS / "data_batch_1.bin", made.records)
    os.mkfifo(tmp_path / RECORDS / "data_batch_2.bin")
    with pytest.raises(ValueError, match=r"data_batch_2\.bin is no file"):
        Cifar10(root=str(tmp_path)).load()
