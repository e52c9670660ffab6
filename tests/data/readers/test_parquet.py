"""Parquet of the Hugging Face Hub: images, classes and splits as they were written, and what is odd by name."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from limpid.data import Folder
from limpid.data.images import ImageDataset
from limpid.data.readers.formats import scan

PIXELS = np.random.default_rng(3).integers(256, size=(30, 8, 8, 3), dtype=np.uint8)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(index: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS[index]).save(file, "PNG")
    return file.getvalue()


def features(**names: list[str]) -> dict[bytes, bytes]:
    """What `datasets` writes into a schema for columns of the type ClassLabel."""
    labels = {column: {"names": words, "_type": "ClassLabel"} for column, words in names.items()}
    info = {"info": {"features": {"image": {"_type": "Image"}, **labels}}}
    return {b"huggingface": json.dumps(info).encode()}


def table(rows: range, image: str = "image", metadata: dict[bytes, bytes] | None = None, **columns: list) -> pa.Table:
    column = pa.array([{"bytes": png(i), "path": f"{i}.png"} for i in rows], IMAGE)
    return pa.table({image: column, **columns}).replace_schema_metadata(metadata)


def write(path: Path, content: pa.Table, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path, row_group_size=4, **options)  # pyright: ignore[reportArgumentType]
    return path


def all_images(root: Path, split: str = "all", **options: object) -> ImageDataset:
    source = Folder(str(root), 8, split=split, **options).open("cpu")  # pyright: ignore[reportArgumentType]
    assert isinstance(source, ImageDataset)
    return source


def numbers(images: ImageDataset) -> list[int]:
    """Which of PIXELS the images are."""
    return [int((one.permute(1, 2, 0).numpy() == PIXELS).all((1, 2, 3)).nonzero()[0][0]) for one in images.pixels]


def test_images_labels_and_the_names_of_classes_are_those_of_the_table(tmp_path: Path):
    labels = [i % 3 for i in range(10)]
    path = write(tmp_path / "set.parquet", table(range(10), metadata=features(label=["a", "b", "c"]), label=labels))
    images = all_images(path)
    assert numbers(images) == list(range(10))
    assert (images.labels.tolist(), images.class_names) == (labels, ("a", "b", "c"))
    assert "parquet: images from the column image, labels from the column label" in str(images.description)


@pytest.mark.parametrize("column", ["image", "img", "photo"])
def test_an_image_is_a_record_or_plain_bytes_in_the_column_that_can_hold_it(column: str, tmp_path: Path):
    plain = pa.table({"id": [1, 2], column: [png(1), png(2)]})
    assert numbers(all_images(write(tmp_path / "plain.parquet", plain))) == [1, 2]
    assert numbers(all_images(write(tmp_path / "record.parquet", table(range(2), column)))) == [0, 1]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([7, 3, 7], ("3", "7")), (["emu", "cat", "emu"], ("cat", "emu")), ([True, False, True], ("0", "1"))],
)
def test_labels_without_names_are_their_own_names(labels: list, classes: tuple[str, ...], tmp_path: Path):
    images = all_images(write(tmp_path / "set.parquet", table(range(3), label=labels)))
    assert (images.class_names, images.labels.tolist()) == (classes, [1, 0, 1])


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"),
        ("data/train-00000-of-00002-0a1b.parquet", "data/train-00001-of-00002-2c.parquet", "data/test-0.parquet"),
        ("default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"),
    ],
)
def test_files_of_a_folder_are_the_splits_that_their_names_state(names: tuple[str, ...], tmp_path: Path):
    for name, start in zip(names, (0, 10, 20), strict=True):
        write(tmp_path / "set" / name, table(range(start, start + 10), label=[i % 2 for i in range(10)]))
    (tmp_path / "set" / "README.md").write_text("a set")
    assert numbers(all_images(tmp_path / "set", "train")) == list(range(20))
    assert numbers(all_images(tmp_path / "set", "test")) == list(range(20, 30))


def test_several_configurations_are_refused_by_name(tmp_path: Path):
    for name in ("big", "small"):
        write(tmp_path / "set" / name / "train-00000-of-00001.parquet", table(range(3)))
    with pytest.raises(ValueError, match=r"several sets: big, small: name one, as --data.root .*/set/small"):
        all_images(tmp_path / "set")
    assert numbers(all_images(tmp_path / "set" / "small")) == [0, 1, 2]


def test_of_several_columns_of_labels_one_is_named(tmp_path: Path):
    both = features(fine_label=["a", "b"], coarse_label=["x", "y"])
    path = write(tmp_path / "set.parquet", table(range(2), metadata=both, fine_label=[0, 1], coarse_label=[1, 1]))
    with pytest.raises(ValueError, match="fine_label, coarse_label: choose one"):
        scan(path)
    listing = scan(path, "coarse_label")
    assert (listing.classes, listing.labels.tolist()) == (("x", "y"), [1, 1])
    assert scan(path, "none").classes == ()
    with pytest.raises(ValueError, match=r"no column 'colour' of labels: its columns are image \(struct"):
        scan(path, "colour")


@pytest.mark.parametrize(
    ("train", "test", "expected", "fact"),
    [
        ([0, 1, 0], [-1, -1], [0, 1, 2], "2 images of val without a label (-1)"),
        ([0, -1, 1], [0, -1], [0, 2, 3], "1 image of train without a label (-1)"),
        ([-1, -1, -1], [-1, -1], [0, 1, 2, 3, 4], "no labels, since the column label is -1 in all rows"),
    ],
    ids=["a split", "some rows", "all rows"],
)
def test_rows_with_the_label_of_no_class_are_left_out(train, test, expected, fact: str, tmp_path: Path):
    for name, labels, start in (("train", train, 0), ("val", test, 3)):
        content = table(range(start, start + len(labels)), metadata=features(label=["a", "b"]), label=labels)
        write(tmp_path / "set" / f"{name}-0.parquet", content)
    images = all_images(tmp_path / "set")
    assert numbers(images) == expected
    labels = [*train, *test]
    assert images.labels.tolist() == [max(0, labels[i]) for i in expected]
    assert images.class_names == (("a", "b") if max(labels) >= 0 else ())
    assert fact in str(images.description)
    assert numbers(all_images(tmp_path / "set", labels="none")) == [0, 1, 2, 3, 4]


def test_a_row_without_bytes_is_refused_by_its_number(tmp_path: Path):
    rows = [{"bytes": png(0), "path": None}, {"bytes": None, "path": "/home/me/b.png"}, None]
    path = write(tmp_path / "set.parquet", pa.table({"image": pa.array(rows, IMAGE)}))
    with pytest.raises(ValueError, match=r"set\.parquet: 1: this row has no bytes of an image, only the path '/home"):
        all_images(path)
    assert numbers(all_images(path, on_error="skip")) == [0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pa.table({"pixels": [[1, 2]], "label": [0]}), r"its columns are pixels \(list.*\), label \(int64\)"),
        (pa.table({"a": [b"x"], "b": [b"y"]}), "no column image or img of files of images"),
        (table(range(2), metadata=features(label=["a"]), label=[0, 1]), "labels are 0 to 1, and it names 1 classes"),
        (table(range(2), label=[0, None]), "its column label has no value in some rows"),
    ],
)
def test_a_table_that_is_no_set_of_images_is_refused_with_its_columns(content: pa.Table, reason: str, tmp_path: Path):
    with pytest.raises(ValueError, match=reason) as error:
        all_images(write(tmp_path / "set.parquet", content))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [lambda blob: blob[:200], lambda blob: blob[:4], lambda blob: blob[:-4] + b"PARE"])
def test_a_parquet_that_was_cut_is_refused_in_one_line(cut, tmp_path: Path):
    path = write(tmp_path / "set.parquet", table(range(10)))
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(ValueError, match=re.escape(f"cannot read {path}: ")) as error:
        all_images(path)
    assert "\n" not in str(error.value)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch):
    path = write(tmp_path / "set.parquet", table(range(2)))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=re.escape("pip install 'limpid-diffusion[parquet]'")):
        all_images(path)


def test_rows_are_held_out_as_those_of_an_array(tmp_path: Path):
    path = write(tmp_path / "set.parquet", table(range(30)))
    np.savez(tmp_path / "set.npz", images=PIXELS)
    for split in ("train", "test"):
        parquet, npz = (all_images(root, split, held_out=0.3) for root in (path, tmp_path / "set.npz"))
        assert torch.equal(parquet.pixels, npz.pixels)
