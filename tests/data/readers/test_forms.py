"""Other forms of a set: the images, labels and splits that were written; a form that is not read is named."""

import io
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image
from set_files import assert_set, images_of, write
from small_sets import LABELS, PIXELS, SETS, SPLITS, class_folders, hdf5, npy, npz, parquet, png, tar
from tiny_recipes import TINY

from limpid.data import Folder
from limpid.data.images import ImageDataset
from limpid.runtime.device import Runtime
from limpid.training.api import train_steps


def test_data_sets_of_hdf5_are_read_as_arrays(tmp_path: Path, monkeypatch):
    words = np.array(["cat", "dog", "emu"])[LABELS]
    path = tmp_path / "set.h5"
    path.write_bytes(hdf5(**SPLITS))
    assert_set(images_of(path, "train"), PIXELS[:8], LABELS[:8])
    path.write_bytes(hdf5(data=PIXELS, labels=words.astype("S3"), extra=np.zeros(2)))
    images = images_of(path)
    assert_set(images, PIXELS, LABELS)
    assert images.class_names == ("cat", "dog", "emu")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"pip install 'limpid-diffusion\[hdf5\]'"):
        images_of(path)


def edm_zip() -> bytes:
    """A zip as EDM's dataset_tool writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        names = [f"00000/img{i:08d}.png" for i in range(12)]
        for i, name in enumerate(names):
            packed.writestr(name, png(i))
        labels = [[name, int(label)] for name, label in zip(names, LABELS, strict=True)]
        packed.writestr("dataset.json", json.dumps({"labels": labels}))
    return file.getvalue()


FORMS: dict[str, Callable[[Path], object]] = {
    "class folders": lambda path: write(path, **class_folders()),
    "edm.zip": lambda path: path.write_bytes(edm_zip()),
    "set.parquet": lambda path: path.write_bytes(SETS["parquet"]()),
    "set.npz": lambda path: path.write_bytes(npz(images=PIXELS, labels=LABELS)),
    "webdataset.tar": lambda path: path.write_bytes(SETS["webdataset"]()),
    "folders.tar": lambda path: path.write_bytes(SETS["tar"]()),
}
"""What writes the same images in each form."""


@pytest.fixture(scope="module")
def losses_in_memory() -> list[list[float]]:
    return losses(ImageDataset(torch.from_numpy(PIXELS).permute(0, 3, 1, 2), torch.from_numpy(LABELS), ("0", "1", "2")))


def losses(data: ImageDataset | Folder) -> list[list[float]]:
    """The loss of each image in three steps of training, which span two epochs."""
    recipe = replace(TINY, duration=24, batch_size=8)
    return [step.loss.tolist() for step in train_steps(recipe, data, runtime=Runtime("cpu"))]


@pytest.mark.parametrize("form", FORMS)
def test_a_set_in_any_form_trains_to_the_same_losses_where_none_is_held_out(
    form: str, losses_in_memory: list[list[float]], tmp_path: Path
):
    """With images held out it does not: names decide which ones, and the images have other names in each form."""
    FORMS[form](tmp_path / form)
    folder = Folder(str(tmp_path / form), 8, held_out=0.0)
    images = folder.open("cpu")
    assert isinstance(images, ImageDataset)
    assert_set(images, PIXELS, LABELS)
    assert losses(folder) == losses_in_memory
    assert len({*chain(*losses_in_memory)}) == 24


def parquet_of_numbers() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(12)), "label": LABELS}), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "blob", "left_out"),
    [
        (
            "features.npy",
            npy(np.zeros((2, 4))),
            "1 NumPy array beside the images: name the array itself with --data.root",
        ),
        ("images.npy", npy(PIXELS[:3]), "1 NumPy array beside the images"),
        ("few.parquet", parquet(rows=range(3)), "1 .parquet file (few.parquet)"),
        ("x.parquet", parquet_of_numbers(), "1 .parquet file (x.parquet)"),
        ("few.npz", npz(images=PIXELS[:3]), "1 .npz file (few.npz)"),
        ("few.tar", tar({"a.png": png(0)}), "1 .tar file (few.tar)"),
    ],
)
def test_a_file_of_another_form_with_no_more_images_than_are_beside_it_is_left_out_and_named(
    name: str, blob: bytes, left_out: str, tmp_path: Path
):
    images = images_of(write(tmp_path / "set", **{f"{i}.png": png(i) for i in range(3)}, **{name: blob}))
    assert_set(images, PIXELS[:3], np.zeros(3, int))
    assert f"  left out: {left_out}" in str(images.description)


@pytest.mark.parametrize(
    ("name", "blob"), [("images.npy", npy(PIXELS)), ("a.parquet", parquet()), ("a.npz", npz(x=PIXELS))]
)
def test_images_beside_a_set_of_another_form_with_more_of_them_are_left_out_and_named(
    name: str, blob: bytes, tmp_path: Path
):
    images = images_of(write(tmp_path / "set", **{"preview.png": png(1), "README.md": b"", name: blob}))
    assert len(images) == 12
    assert "  left out: 1 .md file (README.md)\n  left out: 1 .png file (preview.png)" in str(images.description)


def test_a_folder_of_heic_alone_is_read_and_without_its_package_one_line_names_it(tmp_path: Path, monkeypatch):
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(PIXELS[0])).save(file)
    root = write(tmp_path / "set", **{f"IMG_{i}.HEIC": file.getvalue() for i in range(2)})
    assert len(images_of(root)) == 2
    monkeypatch.setattr("limpid.data.readers.file_kinds.find_spec", lambda _: None)
    with pytest.raises(
        ValueError, match=r"it is a HEIC .*pip install 'limpid-diffusion\[heic\]'.*IMG_0\.HEIC"
    ) as error:
        images_of(root)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("name", "blob", "reason"),
    [
        ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(99), "it is a 7z archive: unpack it, and name the folder"),
        ("a.arrow", b"ARROW1" + bytes(99), "it is an Arrow file: write it as parquet"),
        ("a.zip", b"PK\x03\x04" + bytes(99), "a zip without its directory at the end: it is not complete"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(99), "it is one image: name the folder that it is in"),
        ("a.dat", b"hello", "it begins with b'hello', which is no form of images"),
        ("a.zip", b"", "it is empty; expected a folder of images, or parquet, an .npz of arrays"),
    ],
)
def test_a_form_that_is_not_read_is_named(name: str, blob: bytes, reason: str, tmp_path: Path):
    with pytest.raises(ValueError, match=reason):
        images_of(write(tmp_path, **{name: blob}) / name)


def test_an_npz_is_known_by_its_content_whatever_its_name(tmp_path: Path):
    path = tmp_path / "set.zip"
    path.write_bytes(npz(images=PIXELS, labels=LABELS))
    assert zipfile.is_zipfile(path)
    assert_set(images_of(path), PIXELS, LABELS)
