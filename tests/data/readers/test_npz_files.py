"""Several .npz in a folder are one set, by their names; what is none is refused, with the names of the files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_sets import LABELS, PIXELS, npz, png

from limpid.data import Folder
from limpid.data.images import ImageDataset

GREY = PIXELS[..., 0]
FLAT = PIXELS.transpose(0, 3, 1, 2).reshape(12, -1)


def opened(root: Path, files: dict[str, bytes], split: str = "all", **options: object) -> ImageDataset:
    """The set in the folder `root`, written first."""
    for name, blob in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(blob)
    source = Folder(str(root), 8, split=split, **options).open("cpu")  # pyright: ignore[reportArgumentType]
    assert isinstance(source, ImageDataset)
    return source


def assert_rows(images: ImageDataset, pixels: np.ndarray, rows: slice) -> None:
    """That these are the rows of `pixels`, n x height x width x channels, with their labels."""
    assert torch.equal(images.pixels, torch.from_numpy(pixels[rows].copy()).permute(0, 3, 1, 2))
    assert images.labels.tolist() == LABELS[rows].tolist()


@pytest.mark.parametrize("folders", ["", "Imagenet8_{}_npz/"], ids=["one folder", "a folder for each split"])
def test_batches_as_those_of_imagenet32_are_one_set_in_the_order_of_their_numbers(folders: str, tmp_path: Path):
    parts = {f"train_data_batch_{1 + i}": slice(i, i + 1) for i in range(10)} | {"val_data": slice(10, 12)}
    files = {
        f"{folders.format(name.split('_')[0])}{name}.npz": npz(
            data=FLAT[rows], labels=LABELS[rows] + 1, mean=FLAT[rows].mean(0)
        )
        for name, rows in parts.items()
    }
    train = opened(tmp_path / "set", files, "train")
    assert_rows(train, PIXELS, slice(0, 10))
    assert_rows(opened(tmp_path / "set", {}, "test"), PIXELS, slice(10, 12))
    assert train.class_names == ("1", "2", "3")
    lines = str(train.description).splitlines()
    assert "  splits: train 10, val 2" in lines
    assert "  11 .npz files are one set" in lines
    assert sum("array data" in line for line in lines) == 1
    assert any(line.startswith("  left out: 11 other arrays (mean (float64, 192)") for line in lines)


@pytest.mark.parametrize("names", ["kmnist-{}-imgs kmnist-{}-labels", "x_{} y_{}", "{}_images {}_targets"])
def test_images_and_labels_in_files_of_their_own_are_pairs_as_those_of_kmnist(names: str, tmp_path: Path):
    files = {}
    for split, rows in (("test", slice(8, 12)), ("train", slice(0, 8))):
        images, labels = (f"{name.format(split)}.npz" for name in names.split())
        files |= {images: npz(arr_0=GREY[rows]), labels: npz(arr_0=LABELS[rows])}
    assert_rows(opened(tmp_path / "set", files, "train", channels="L"), PIXELS[..., :1], slice(0, 8))
    assert_rows(opened(tmp_path / "set", {}, "test", channels="L"), PIXELS[..., :1], slice(8, 12))


def test_one_npz_in_a_folder_is_the_set_and_files_without_images_are_left_out(tmp_path: Path):
    files = {"samples.npz": npz(arr_0=PIXELS, arr_1=LABELS), "stats.npz": npz(mu=np.ones(9), sigma=np.eye(9))}
    images = opened(tmp_path / "set", files | {"preview.png": png(0)})
    assert_rows(images, PIXELS, slice(0, 12))
    assert "left out: 1 .npz file without an image (stats.npz)" in str(images.description)
    assert "left out: 1 .png file (preview.png)" in str(images.description)


def test_statistics_beside_images_leave_the_folder_one_of_images(tmp_path: Path):
    images = opened(tmp_path / "set", {"stats.npz": npz(mu=np.ones(9)), "a.png": png(0), "b.png": png(1)})
    assert torch.equal(images.pixels, torch.from_numpy(PIXELS[:2]).permute(0, 3, 1, 2))


REFUSED = {
    r"several sets in its \.npz: blood\.npz, path\.npz: name one": {"path": (PIXELS,), "blood": (PIXELS,)},
    r"images of several shapes in its \.npz: train_8\.npz, train_16\.npz": {
        "train_8": (PIXELS,),
        "train_16": (PIXELS.repeat(2, 1).repeat(2, 2),),
    },
    r"an image in each \.npz: a_0\.npz, a_1\.npz: save each as \.npy": {"a_0": (PIXELS[0],), "a_1": (PIXELS[1],)},
    r"labels are arr_1 \(int64, 11\): expected one for each of 12": {
        "train_0": (PIXELS, LABELS),
        "train_1": (PIXELS, LABELS[1:]),
    },
    r"set: test-labels\.npz: it has no array images": {"train-imgs": (GREY,), "test-labels": (LABELS,)},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_files_that_are_not_one_set_are_named_with_what_to_do(reason: str, tmp_path: Path):
    files = {
        f"{name}.npz": npz(**{f"arr_{i}": array for i, array in enumerate(arrays)})
        for name, arrays in REFUSED[reason].items()
    }
    with pytest.raises(ValueError, match=reason) as error:
        opened(tmp_path / "set", files)
    assert "\n" not in str(error.value)


def test_files_that_hold_their_splits_are_sets_of_their_own(tmp_path: Path):
    blob = npz(train_images=PIXELS[:8], test_images=PIXELS[8:])
    with pytest.raises(ValueError, match=r"several sets in its \.npz: path\.npz, path_64\.npz: name one"):
        opened(tmp_path / "set", {"path.npz": blob, "path_64.npz": blob})
    (tmp_path / "set" / "path.npz").write_bytes(blob[:100])
    with pytest.raises(ValueError, match=r"cannot read .*path\.npz"):
        opened(tmp_path / "set", {})
