"""Sets as their authors publish them: CIFAR-100, SVHN and STL-10 give the images and labels that were written."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from published_sets import (
    CIFAR100,
    COARSE,
    COARSE_NAMES,
    FINE,
    FINE_NAMES,
    PARTS,
    PIXELS,
    STL10_LABELS,
    STL10_PARTS,
    STL10_PIXELS,
    cifar100_pickles,
    stl10,
    svhn,
)
from small_sets import hdf5, tar

from limpid.data import Folder
from limpid.data.images import ImageDataset


def images_of(root: Path, split: str = "all", size: int = 32, **options: object) -> ImageDataset:
    source = Folder(str(root), size, split=split, **options).open("cpu")  # pyright: ignore[reportArgumentType]
    assert isinstance(source, ImageDataset)
    return source


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, blob in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(blob)
    return root


def assert_set(images: ImageDataset, rows: slice, labels: np.ndarray = FINE, pixels: np.ndarray = PIXELS) -> None:
    """That these are the rows of the images, and their labels."""
    assert torch.equal(images.pixels, torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2))
    assert images.labels.tolist() == labels[rows].tolist()


@pytest.mark.parametrize("where", ["the folder", "the folder above", "the archive", "the folder of the archive"])
@pytest.mark.parametrize("folder", CIFAR100)
def test_cifar100_is_read_as_it_is_published(folder: str, where: str, tmp_path: Path):
    files = {f"{folder}/{name}": blob for name, blob in CIFAR100[folder]().items()}
    packed = {f"{folder}.tar.gz": gzip.compress(tar(files), 1)}
    above = write(tmp_path / "set", packed if "archive" in where else files)
    root = above / {"the folder": folder, "the archive": f"{folder}.tar.gz"}.get(where, "")
    for split, rows in PARTS.items():
        assert_set(images := images_of(root, split), rows)
        assert images.class_names == FINE_NAMES
    coarse = images_of(root, "train", labels="coarse")
    assert_set(coarse, PARTS["train"], COARSE)
    assert coarse.class_names == COARSE_NAMES
    assert images_of(root, labels="none").class_names == ()
    with pytest.raises(ValueError, match="CIFAR-100 has no labels 'colour': expected fine, coarse or none"):
        images_of(root, labels="colour")


def test_both_forms_of_cifar100_are_one_set(tmp_path: Path):
    found = [images_of(write(tmp_path / folder, make())).fingerprint for folder, make in CIFAR100.items()]
    assert found[0] == found[1]


def test_a_pickle_of_cifar100_that_names_a_function_is_refused(tmp_path: Path):
    root = write(tmp_path / "set", cifar100_pickles() | {"meta": pickle.dumps(print, 4)})
    with pytest.raises(ValueError, match=r"set: it asks for .*print.*, and only numpy arrays are admitted"):
        images_of(root)


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "packed"])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_svhn_is_read_as_it_is_published_with_10_as_the_digit_0(packed: bool, dtype: str, tmp_path: Path):
    files = {f"{split}_32x32.mat": svhn(rows, packed, dtype) for split, rows in PARTS.items()}
    root = write(tmp_path / "svhn", files | {"extra_32x32.mat": svhn(PARTS["test"])})
    for split, rows in PARTS.items():
        assert_set(images := images_of(root, split), rows)
        assert images.class_names == tuple("0123456789")
    assert "train on it alone (extra_32x32.mat)" in str(images_of(root).description)
    for name, rows in (("train_32x32.mat", PARTS["train"]), ("extra_32x32.mat", PARTS["test"])):
        assert_set(images_of(root / name), rows)


def test_other_matlab_files_keep_their_labels_and_name_what_is_left_out(tmp_path: Path):
    root = write(tmp_path, {"set.mat": svhn(slice(0, 12), words="hello", table=np.ones((5, 6)))})
    images = images_of(root / "set.mat")
    assert images.class_names == ("1", "2", "3", "10")
    assert "2 values other than arrays of images or labels (table, words)" in str(images.description)


def test_matlab_7_3_is_read_like_matlab_5(tmp_path: Path):
    head = b"MATLAB 7.3 MAT-file".ljust(512)
    blob = hdf5(512, X=PIXELS.transpose(0, 3, 2, 1), y=FINE[None].astype(np.float64))
    root = write(tmp_path, {"set.mat": head + blob[512:]})
    assert_set(images_of(root / "set.mat"), slice(0, 12))


def test_a_mat_that_ends_early_or_claims_too_much_is_refused(tmp_path: Path):
    blob = svhn(slice(0, 12), packed=False)
    claimed = blob.replace(np.array([32, 32, 3, 12], "<i4").tobytes(), np.array([32, 32, 3, 2**30], "<i4").tobytes())
    for broken in (blob[:-100], claimed, svhn(slice(0, 12))[:-100], blob[:140]):
        path = write(tmp_path, {"set.mat": broken}) / "set.mat"
        with pytest.raises(ValueError, match=r"cannot read .*set\.mat") as error:
            images_of(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("inside", ["", "stl10_binary/"])
def test_stl10_is_read_as_it_is_published(inside: str, tmp_path: Path):
    files = stl10() | {"unlabeled_X.bin": bytes(27_648)}
    files = {inside + name: blob for name, blob in files.items()}
    root = write(tmp_path / "stl", files)
    for split, rows in STL10_PARTS.items():
        assert_set(images := images_of(root, split, 96), rows, STL10_LABELS, STL10_PIXELS)
        assert images.class_names == ("airplane", "bird", "car")
    assert "1 file of images without labels (unlabeled_X.bin)" in str(images_of(root, "train", 96).description)
    write(root, {f"{inside}test_X.bin": bytes(100)})
    with pytest.raises(ValueError, match=r"test_X\.bin has 100 bytes: expected 27,648 for each image"):
        images_of(root)
