import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from limpid.data import Cifar10
from limpid.data.images import ImageDataset, resize
from limpid.data.stream import StreamingDataset

PICKLES, RECORDS = "cifar-10-batches-py", "cifar-10-batches-bin"


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """Writes a tar.gz of these members."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, blob in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(blob)
            tar.addfile(entry, io.BytesIO(blob))
    return path


def write(path: Path, blob: bytes) -> Path:
    """Writes a file and its folder."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(blob)
    return path


def load(root: Path | None = None) -> ImageDataset:
    return Cifar10(split="test", root=str(root or "")).load()


@pytest.mark.parametrize("inside", [False, True], ids=["named", "in the folder named"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("version", ["python", "binary"])
def test_every_published_form_holds_the_same_images(made, tmp_path: Path, version: str, packed: bool, inside: bool):
    folder, file, blob = {
        "python": (PICKLES, "test_batch", made.pickled),
        "binary": (RECORDS, "test_batch.bin", made.records),
    }[version]
    if packed:
        path = pack(tmp_path / f"cifar-10-{version}.tar.gz", {f"{folder}/readme.html": b"", f"{folder}/{file}": blob})
    else:
        path = write(tmp_path / folder / file, blob).parent
    images = load(tmp_path if inside else path)
    assert torch.equal(images.pixels, made.pixels)
    assert torch.equal(images.labels, made.labels)


def test_the_real_images_are_those_that_everybody_has(cifar_root: Path):
    """The first labels and the mean and deviation of the channels, as they are quoted everywhere."""
    train, test = Cifar10(root=str(cifar_root)).load(), load(cifar_root)
    assert (len(train), len(test), train.shape, train.classes) == (50_000, 10_000, (3, 32, 32), 10)
    assert (train.pixels.dtype, train.labels.dtype) == (torch.uint8, torch.int64)
    assert train.labels.bincount().tolist() == [5_000] * 10
    assert test.labels.bincount().tolist() == [1_000] * 10
    assert [train.class_names[label] for label in train.labels[:4]] == ["frog", "truck", "truck", "deer"]
    assert [test.class_names[label] for label in test.labels[:4]] == ["cat", "ship", "ship", "airplane"]
    share = torch.stack([channel.flatten().bincount(minlength=256) for channel in train.pixels.unbind(1)]) / (
        50_000 * 32**2
    )
    x = torch.arange(256) / 255
    mean = share @ x
    assert_close(mean, torch.tensor([0.4914, 0.4822, 0.4465]), rtol=0, atol=1e-4)
    assert_close((share @ x**2 - mean**2).sqrt(), torch.tensor([0.2470, 0.2435, 0.2616]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("seen", [0, 9_990])
def test_streamed_and_resident_images_are_the_same_to_the_bit(cifar_root: Path, size: int, seen: int):
    resident, streamed = (
        Cifar10(size, "test", str(cifar_root), workers).open("cpu").batches(seen, 50, seed=1) for workers in (0, 2)
    )
    for here, there in islice(zip(resident, streamed, strict=True), 4):
        assert here[0].shape == (50, 3, size, size)
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def test_workers_choose_the_form(made, tmp_path: Path):
    write(tmp_path / RECORDS / "test_batch.bin", made.records)
    stream = Cifar10(16, "test", str(tmp_path), workers=1).open("cpu")
    assert isinstance(stream, StreamingDataset)
    assert (len(stream), stream.shape, stream.classes, stream.workers) == (10_000, (3, 16, 16), 10, 1)
    images = Cifar10(16, "test", str(tmp_path)).open("cpu")
    assert isinstance(images, ImageDataset)
    assert torch.equal(images.pixels[:50], resize(made.pixels[:50], 16))


def test_test_images_that_are_equal_to_a_training_image_are_counted_for_images_that_workers_read(made, tmp_path: Path):
    file = write(tmp_path / RECORDS / "test_batch.bin", made.records)
    for i in range(1, 6):
        (tmp_path / RECORDS / f"data_batch_{i}.bin").hardlink_to(file)
    resized = Cifar10(16, root=str(tmp_path), workers=1).open("cpu").description
    assert (resized.shape, resized.statistics) == ((3, 16, 16), None)
    assert (resized.splits, resized.duplicates) == ((("train", 50_000), ("test", 10_000)), 10_000)


def test_the_set_is_looked_for_where_limpid_data_says(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / RECORDS / "test_batch.bin", made.records)
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path))
    assert torch.equal(load().labels, made.labels)


def test_a_set_that_is_nowhere_is_downloaded_once(made, serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    published = pack(tmp_path / "published.tar.gz", {f"{PICKLES}/test_batch": made.pickled}).read_bytes()
    url = serve(published)
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "kept"))
    monkeypatch.setattr("limpid.data.cifar10.URL", url.replace("file.tar.gz", "cifar-10-python.tar.gz"))
    monkeypatch.setattr("limpid.data.cifar10.MD5", hashlib.md5(published).hexdigest())
    assert torch.equal(load().pixels, made.pixels)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["cifar-10-python.tar.gz"]
    monkeypatch.setattr("limpid.data.cifar10.URL", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    assert torch.equal(load().pixels, made.pixels)


def test_without_data_and_network_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path))
    monkeypatch.setattr("limpid.data.cifar10.URL", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(ValueError, match="no CIFAR-10 in") as error:
        load()
    line = str(error.value)
    assert "\n" not in line
    for part in (str(tmp_path), PICKLES, RECORDS, "http://127.0.0.1:9/", "--data.root PATH", "LIMPID_DATA"):
        assert part in line
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_downloaded_into_a_folder_that_the_user_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("limpid.data.cifar10.URL", "a download would fail otherwise")
    with pytest.raises(ValueError, match=f"no CIFAR-10 at {tmp_path}: looked for {PICKLES}"):
        load(tmp_path)
    with pytest.raises(ValueError, match="no CIFAR-10 at"):
        load(write(tmp_path / "other.tar.gz", b""))


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


def test_records_must_be_whole_too(made, tmp_path: Path):
    for blob, message in (
        (made.records[:-1], "is not a batch"),
        (made.records[:-3073], r"pixels of shape \(9999, 3072\)"),
    ):
        write(tmp_path / RECORDS / "test_batch.bin", blob)
        with pytest.raises(ValueError, match=message):
            load(tmp_path)


def test_the_training_images_know_the_test_images_beside_them(made, tmp_path: Path):
    for i in range(1, 6):
        write(tmp_path / RECORDS / f"data_batch_{i}.bin", made.records)
    test_batch = write(tmp_path / RECORDS / "test_batch.bin", made.records)
    read_held_out = Cifar10(root=str(tmp_path)).load().held_out
    assert read_held_out
    test = read_held_out()
    assert test
    assert torch.equal(test.pixels, made.pixels)
    assert test.held_out
    assert test.held_out() is None
    test_batch.unlink()
    assert read_held_out() is None


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


def test_labels_that_hold_one_another_are_refused(tmp_path: Path):
    """Ten lists of ten lists of ten..., nine times over, are a billion numbers in a few hundred bytes."""
    labels: list = [0]
    for _ in range(9):
        labels = [labels] * 10
    write(tmp_path / PICKLES / "test_batch", pickled(labels=labels))
    with pytest.raises(ValueError, match="labels that are not 10000 whole numbers"):
        load(tmp_path)


def test_an_archive_that_is_a_bomb_is_left_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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


def test_a_pipe_in_the_place_of_a_batch_is_not_waited_for(made, tmp_path: Path):
    write(tmp_path / RECORDS / "data_batch_1.bin", made.records)
    os.mkfifo(tmp_path / RECORDS / "data_batch_2.bin")
    with pytest.raises(ValueError, match=r"data_batch_2\.bin is no file"):
        Cifar10(root=str(tmp_path)).load()
