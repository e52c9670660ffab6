"""Arrays under the names and in the layouts that people have: the right images, labels and splits, or the reason."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_sets import LABELS, PIXELS, SPLITS

from limpid.data import Folder
from limpid.data.images import ImageDataset
from limpid.data.readers.array_layout import layout_from_shape
from limpid.data.readers.formats import scan

GREY = PIXELS[..., 0]


def images_of(root: Path, split: str = "all", **options: object) -> ImageDataset:
    source = Folder(str(root), 8, split=split, **options).open("cpu")  # pyright: ignore[reportArgumentType]
    assert isinstance(source, ImageDataset)
    return source


def npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def assert_pixels(images: ImageDataset, expected: np.ndarray) -> None:
    """That these are the images, given as n x height x width x channels."""
    assert torch.equal(images.pixels, torch.from_numpy(expected).permute(0, 3, 1, 2))


NAMES = {
    "MedMNIST": ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    "Keras": ("x_train", "y_train", "x_valid", "y_valid", "x_test", "y_test"),
    "other": ("X_training", "targets_training", "X_dev", "targets_dev", "X_testing", "targets_testing"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=list(NAMES))
def test_arrays_of_splits_are_found_by_their_names(names: tuple[str, ...], tmp_path: Path):
    parts = [part for start in (0, 4, 8) for part in (PIXELS[start : start + 4], LABELS[start : start + 4])]
    path = npz(tmp_path / "set.npz", **dict(zip(names, parts, strict=True)))
    for split, rows in (("train", slice(0, 4)), ("test", slice(8, 12)), ("all", slice(0, 12))):
        images = images_of(path, split)
        assert_pixels(images, PIXELS[rows])
        assert images.labels.tolist() == LABELS[rows].tolist()
    assert images_of(path).class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    "names", ["images labels", "arr_0 arr_1", "X y", "data labels", "image label", "x train_labels"]
)
def test_images_and_labels_are_found_by_their_names(names: str, tmp_path: Path):
    images, labels = names.split()
    found = images_of(npz(tmp_path / "set.npz", **{images: PIXELS, labels: LABELS + 1}))
    assert_pixels(found, PIXELS)
    assert (found.labels.tolist(), found.class_names) == (LABELS.tolist(), ("1", "2", "3"))


LAYOUTS = {
    "channels last": PIXELS,
    "channels first": PIXELS.transpose(0, 3, 1, 2),
    "flat planes": PIXELS.transpose(0, 3, 1, 2).reshape(12, -1),
    "bool": PIXELS > 127,
    "uint16": PIXELS.astype(np.uint16) * 257,
    "floats in [0, 1]": (PIXELS / 255).astype(np.float32),
    "floats in [-1, 1]": PIXELS / 127.5 - 1,
    "int64": PIXELS.astype(np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_type_is_brought_to_the_same_pixels(layout: str, tmp_path: Path):
    expected = (PIXELS > 127).astype(np.uint8) * 255 if layout == "bool" else PIXELS
    assert_pixels(images_of(npz(tmp_path / "set.npz", images=LAYOUTS[layout])), expected)


@pytest.mark.parametrize("shape", [(12, 8, 8), (12, 8, 8, 1), (12, 1, 8, 8), (12, 64)])
def test_arrays_of_one_channel_are_grey(shape: tuple[int, ...], tmp_path: Path):
    images = images_of(npz(tmp_path / "set.npz", images=GREY.reshape(shape)), channels="L")
    assert_pixels(images, GREY[..., None])


@pytest.mark.parametrize(("first", "channels"), [((12, 7, 8, 8), True), ((12, 8, 8, 7), False)])
def test_many_channels_are_the_axis_that_differs(first: tuple[int, ...], channels: bool, tmp_path: Path):
    array = np.random.default_rng(0).integers(256, size=first, dtype=np.uint8)
    images = images_of(npz(tmp_path / "set.npz", images=array), channels=7)
    assert_pixels(images, array.transpose(0, 2, 3, 1) if channels else array)


@pytest.mark.parametrize(
    "labels",
    [LABELS[:, None], np.eye(3)[LABELS], np.eye(3, dtype=bool)[LABELS], LABELS.astype(np.float32)],
    ids=["one column", "one-hot", "one-hot bool", "floats"],
)
def test_labels_are_one_number_for_each_image_however_they_are_written(labels: np.ndarray, tmp_path: Path):
    images = images_of(npz(tmp_path / "set.npz", images=PIXELS, labels=labels))
    assert (images.labels.tolist(), images.class_names) == (LABELS.tolist(), ("0", "1", "2"))


def test_labels_may_be_words(tmp_path: Path):
    images = images_of(npz(tmp_path / "set.npz", images=PIXELS, labels=np.array(["emu", "cat", "dog"])[LABELS]))
    assert images.class_names == ("cat", "dog", "emu")
    assert [images.class_names[label] for label in images.labels] == [["emu", "cat", "dog"][each] for each in LABELS]


def test_arrays_that_are_left_out_are_named(tmp_path: Path):
    odd = np.array([{"a": 1}], dtype=object)
    many = np.random.default_rng(0).integers(2, size=(12, 14))
    path = npz(tmp_path / "set.npz", images=PIXELS, labels=many, masks=GREY, notes=odd)
    images = images_of(path)
    assert images.class_names == ()
    for part in ("masks (uint8, 12 x 8 x 8)", "labels (int64, 12 x 14)", "notes.npy"):
        assert part in str(images.description)


def test_an_array_of_labels_can_be_named(tmp_path: Path):
    path = npz(tmp_path / "set.npz", images=PIXELS, fine=np.arange(12), coarse=LABELS)
    assert scan(path).classes == ()
    assert scan(npz(tmp_path / "labelled.npz", images=PIXELS, labels=LABELS), "none").classes == ()
    assert scan(path, "coarse").labels.tolist() == LABELS.tolist()
    with pytest.raises(ValueError, match=r"no array 'colour' of labels: its arrays are images \(uint8"):
        scan(path, "colour")


def test_floats_of_an_unknown_range_are_refused_and_read_by_a_stated_one(tmp_path: Path):
    path = npz(tmp_path / "set.npz", images=PIXELS.astype(np.float32))
    with pytest.raises(ValueError, match=r"float32 from \d+ to \d+, and no white is known: .* --data.range LOW HIGH"):
        images_of(path)
    assert_pixels(images_of(path, range=(0.0, 255.0)), PIXELS)


def test_a_value_outside_of_the_range_of_the_first_images_is_refused(tmp_path: Path):
    many = np.zeros((300, 8, 8), np.float32)
    many[299, 0, 0] = -0.5
    with pytest.raises(ValueError, match=r"299: .* from -0.5 to 0, and the first images are in \[0, 1\]"):
        images_of(npz(tmp_path / "set.npz", images=many))


def test_a_npy_holds_images_and_so_does_a_folder_of_them(tmp_path: Path):
    np.save(tmp_path / "set.npy", PIXELS)
    assert_pixels(images_of(tmp_path / "set.npy"), PIXELS)
    (tmp_path / "one").mkdir()
    np.save(tmp_path / "one" / "galaxies.npy", PIXELS)
    assert_pixels(images_of(tmp_path / "one"), PIXELS)
    for name, array in SPLITS.items():
        (tmp_path / "arrays").mkdir(exist_ok=True)
        np.save(tmp_path / "arrays" / f"{name}.npy", array)
    assert_pixels(images_of(tmp_path / "arrays", "train"), PIXELS[:8])
    for i, pixels in enumerate(PIXELS / 127.5 - 1):
        folder = tmp_path / "each" / f"class{LABELS[i]}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{i:02d}.npy", pixels)
    images = images_of(tmp_path / "each")
    assert_pixels(images, PIXELS)
    assert (images.labels.tolist(), images.class_names) == (LABELS.tolist(), ("class0", "class1", "class2"))


@pytest.mark.parametrize("shape", [(9, 8, 8, 4), (9, 4, 8, 8)])
def test_a_note_states_how_four_channels_are_read(shape: tuple[int, ...]):
    assert ", RGB and alpha unless --data.channels is 4)" in str(layout_from_shape(shape))
    assert "alpha" not in str(layout_from_shape((9, 8, 8, 3)))
