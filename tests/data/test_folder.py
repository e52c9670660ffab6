"""Images of one's own: the same images and classes from a folder, a zip or an npz, held in memory or streamed."""

import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from own_images import CLASSES, EXPECTED, PIXELS, numbers, open_all, png, write, zipped
from PIL import Image

from limpid.data import Folder
from limpid.data.images import ImageDataset, resize
from limpid.data.readers.decode import decode
from limpid.data.readers.fit import ImageSpec
from limpid.data.splits import unit_hash
from limpid.data.stream import StreamingDataset


@pytest.mark.parametrize("form", ["folder", "zip", "npz", "packed npz"])
def test_every_form_holds_the_same_images_and_classes(form: str, tmp_path: Path):
    labels = np.array([0] * 8 + [1] * 4)
    pixels = PIXELS[EXPECTED].permute(0, 2, 3, 1).numpy()
    if form == "folder":
        place = write(tmp_path / "images", CLASSES)
    elif form == "zip":
        place = zipped(tmp_path / "images.zip", CLASSES)
    else:
        place = tmp_path / "images.npz"
        (np.savez if form == "npz" else np.savez_compressed)(place, images=pixels, labels=labels)
    images = open_all(place)
    assert numbers(images) == EXPECTED
    assert images.labels.tolist() == labels.tolist()
    assert images.class_names == (("cat", "dog") if form in ("folder", "zip") else ("0", "1"))


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["a.png", "b.png"], ()),
        (["cat/a.png", "dog/b.png"], ("cat", "dog")),
        (["cat/old/a.png", "dog/b.png"], ("cat", "dog")),
        (["photos/cat/a.png", "photos/dog/b.png"], ("cat", "dog")),
        (["photos/a.png", "photos/b.png"], ()),
        (["cat/a.png", "b.png"], ()),
        (["x.png/a.png", "y.png/b.png"], ("x.png", "y.png")),
        (["Zebra/a.png", "ant/b.png", "Éclair/c.png"], ("Zebra", "ant", "Éclair")),
        (["0/a.png", "1/b.png", "2/c.png", "10/d.png"], ("0", "1", "2", "10")),
        (["-3/a.png", "01/b.png", "1/c.png", "9/d.png", "010/e.png"], ("-3", "01", "1", "9", "010")),
        (["1/a.png", "10/b.png", "2/c.png", "two/d.png"], ("1", "10", "2", "two")),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_sub_folders_are_classes_if_every_image_is_in_one(
    names: list[str], classes: tuple[str, ...], packed: bool, tmp_path: Path
):
    files = {name: png(i) for i, name in enumerate(names)}
    images = open_all(zipped(tmp_path / "p.zip", files) if packed else write(tmp_path / "p", files))
    assert images.class_names == classes
    assert len(images) == len(names)
    if classes:
        parts = [names[number].split("/") for number in numbers(images)]
        assert all(images.class_names[label] in part for label, part in zip(images.labels, parts, strict=True))
    else:
        assert images.labels.tolist() == [0] * len(names)


def test_images_get_the_size_and_the_channels_of_the_options(tmp_path: Path):
    place = write(tmp_path / "p", {"a.png": png(0)})
    assert torch.equal(open_all(place, size=8, width=10).pixels, resize(PIXELS[:1], (8, 10)))
    assert torch.equal(open_all(place, size=8, width=0).pixels, resize(PIXELS[:1, :, :, 2:18], 8))
    for options in (
        {"channels": "L"},
        {"channels": "RGBA"},
        {"fit": "stretch", "width": 8},
        {"fit": "pad", "size": 20},
    ):
        given = Folder(str(place), 16, 20, split="all")
        folder = replace(given, **options)
        frame = ImageSpec(folder.size, folder.width, folder.channels, folder.fit)
        assert torch.equal(open_all(place, **options).pixels[0], decode(png(0), frame).pixels)


def test_the_splits_are_all_images_once_and_new_images_move_none(tmp_path: Path):
    names = [f"{i}.png" for i in range(300)]

    def splits(names: list[str]) -> dict[str, set[bytes]]:
        marked = {name: Image.new("RGB", (2, 2), (int(name[:-4]) % 256, int(name[:-4]) // 256, 0)) for name in names}
        for name, one in marked.items():
            (tmp_path / "p").mkdir(exist_ok=True)
            one.save(tmp_path / "p" / name)
        found = {}
        for split in ("train", "test", "all"):
            pixels = open_all(tmp_path / "p", size=2, width=2, split=split, held_out=0.2).pixels
            found[split] = {bytes(p.flatten().tolist()) for p in pixels}
        return found

    few, many = splits(names[:150]), splits(names)
    for found, n in ((few, 150), (many, 300)):
        assert found["train"] | found["test"] == found["all"]
        assert found["train"] & found["test"] == set()
        assert len(found["all"]) == n
        assert abs(len(found["test"]) - 0.2 * n) < 4 * (0.2 * 0.8 * n) ** 0.5
    assert few["test"] < many["test"]
    assert few["train"] < many["train"]


def test_the_hash_of_a_name_never_changes():
    """Were it computed otherwise in a later version, images would move from the test set to the training set."""
    assert [round(unit_hash(name), 6) for name in ("0", "cat/00.png", "Éclair.png")] == [0.374709, 0.744014, 0.560942]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": ""}, "--data.root PATH"),
        ({"root": "nowhere"}, "no folder or file at nowhere"),
        ({"root": "empty"}, "no image in empty: it holds no file"),
        ({"root": "text.zip"}, "cannot read text.zip: it begins with b'no', which is no form of images"),
        ({"root": "text.npz"}, "cannot read text.npz: it begins with b'no', which is no form of images"),
        ({"size": 1}, "images of 1x1: expected at least 2x2"),
        ({"size": 10**5}, "expected at least 2x2, and at most"),
        ({"held_out": 1.5}, "held-out 1.5: expected a fraction, 0 to 1"),
        ({"held_out": 0.0, "split": "test"}, "none of 2 images in p is of the split 'test': with 0 of them held out"),
    ],
)
def test_data_that_cannot_be_used_is_refused_in_one_line(
    options: dict[str, object], message: str, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"p/a.png": png(0), "p/b.png": png(1), "text.zip": b"no", "text.npz": b"no"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message) as error:
        Folder(**({"root": "p"} | options)).open("cpu")  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)


def test_packed_images_are_streamed_as_they_are_held(tmp_path: Path):
    folder = Folder(str(write(tmp_path / "p", CLASSES)), 16, 20, held_out=0.0)
    held, streamed = folder.open("cpu"), replace(folder, workers=1).open("cpu")
    assert isinstance(streamed, StreamingDataset)
    assert (len(streamed), streamed.shape, streamed.class_names) == (12, (3, 16, 20), ("cat", "dog"))
    for here, there in islice(zip(held.batches(5, 4, 0), streamed.batches(5, 4, 0), strict=True), 4):
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def test_only_a_set_that_is_too_large_for_a_device_stays_on_disk(tmp_path: Path, monkeypatch):
    folder = Folder(str(write(tmp_path / "p", CLASSES)))
    assert isinstance(folder.open("meta"), ImageDataset)
    monkeypatch.setattr("limpid.data.folder.MAX_GPU_BYTES", 1_000)
    assert isinstance(folder.open("meta"), StreamingDataset)
    assert isinstance(folder.open("cpu"), ImageDataset)


MEASURE = """
import sys
from pathlib import Path
import torch
from limpid.data.images import ImageDataset
from limpid.data.readers.packed import PackedImages

def kilobytes(n):
    folder = Path(sys.argv[1])
    with (folder / "pixels.u8").open("wb") as file:
        file.truncate(n * 3 * 64 * 64)  # zeros that take no room on disk
    pixels = PackedImages(folder, n, (3, 64, 64), 0, (), ()).pixels
    batches = ImageDataset(pixels, torch.zeros(n, dtype=torch.int64)).batches(0, 64, 0)
    for _ in range(20):
        batch, _ = next(batches)
        assert batch.shape == (64, 3, 64, 64) and not batch.any()
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))

print(-kilobytes(1_000) + kilobytes(1_000_000))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_million_images_take_the_memory_of_a_thousand(tmp_path: Path):
    """But for 16 bytes each, their labels and the order they are shown in: 12 GB of pixels stay on disk."""
    more = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, check=True).stdout
    assert int(more) < 40_000
