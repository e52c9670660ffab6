"""CIFAR-10 in each published form: found, downloaded, resized, streamed, and with its test images beside it."""

import hashlib
from itertools import islice
from pathlib import Path

import pytest
import torch
from cifar10_sets import PICKLES, RECORDS, load, pack, write
from torch.testing import assert_close

from limpid.data import Cifar10
from limpid.data.images import ImageDataset, resize
from limpid.data.stream import StreamingDataset


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


def test_the_real_images_have_the_published_labels_mean_and_deviation(cifar_root: Path):
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


def test_a_number_of_workers_makes_the_set_a_stream(made, tmp_path: Path):
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


def test_the_set_is_searched_in_the_folder_of_limpid_data(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / RECORDS / "test_batch.bin", made.records)
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path))
    assert torch.equal(load().labels, made.labels)


def test_a_set_that_is_nowhere_is_downloaded_once(
    made, serve, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    published = pack(tmp_path / "published.tar.gz", {f"{PICKLES}/test_batch": made.pickled}).read_bytes()
    url = serve(published)
    monkeypatch.setattr("limpid.data.cifar10.URL", url.replace("file.tar.gz", "cifar-10-python.tar.gz"))
    monkeypatch.setattr("limpid.data.cifar10.MD5", hashlib.md5(published).hexdigest())
    assert torch.equal(load().pixels, made.pixels)
    assert [path.name for path in cache.iterdir()] == ["cifar-10-python.tar.gz"]
    monkeypatch.setattr("limpid.data.cifar10.URL", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    assert torch.equal(load().pixels, made.pixels)


def test_without_data_and_network_one_line_states_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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
