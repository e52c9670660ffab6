"""MNIST and EMNIST as they are published: idx, with and without gzip."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from set_files import assert_set, images_of, write
from small_sets import LABELS, PIXELS, idx

from limpid.data import Folder
from limpid.data.images import ImageDataset

GREY = PIXELS[..., 0]


@pytest.mark.parametrize("packed", [False, True], ids=["idx", "idx.gz"])
@pytest.mark.parametrize("mark", ["-idx{}-ubyte", ".idx{}-ubyte"])
def test_mnist_is_read_as_it_is_published(packed: bool, mark: str, tmp_path: Path):
    files = {}
    for split, rows in (("train", slice(0, 8)), ("t10k", slice(8, 12))):
        files[f"{split}-images{mark.format(3)}"] = idx(GREY[rows])
        files[f"{split}-labels{mark.format(1)}"] = idx(LABELS[rows])
    if packed:
        files = {f"{name}.gz": gzip.compress(blob) for name, blob in files.items()}
    root = write(tmp_path / "mnist", **files)
    assert_set(images_of(root, "train", channels="L"), GREY[:8, :, :, None], LABELS[:8])
    assert_set(images_of(root, "test", channels="L"), GREY[8:, :, :, None], LABELS[8:])
    one = root / next(iter(files))
    assert_set(images_of(one, channels="L"), GREY[:8, :, :, None], LABELS[:8])


def test_a_gz_beside_the_same_file_unpacked_is_left_out_and_not_opened(tmp_path: Path):
    files = {"train-images-idx3-ubyte": idx(GREY), "train-labels-idx1-ubyte": idx(LABELS)}
    root = write(tmp_path / "raw", **files, **{f"{name}.gz": gzip.compress(blob)[:40] for name, blob in files.items()})
    images = images_of(root, channels="L")
    assert_set(images, GREY[..., None], LABELS)
    (left_out,) = images.description.left_out
    names = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz"
    assert str(left_out) == f"2 .gz files beside the same arrays unpacked ({names})"


def test_mnist_is_padded_to_32_in_black_and_not_resampled(tmp_path: Path):
    digits = np.random.default_rng(0).integers(256, size=(5, 28, 28), dtype=np.uint8)
    root = write(tmp_path / "mnist", **{"train-images-idx3-ubyte": idx(digits)})
    images = Folder(str(root), 32, channels="L", fit="pad", pad="black", split="all").open("cpu")
    assert isinstance(images, ImageDataset)
    assert np.array_equal(images.pixels[:, 0].numpy(), np.pad(digits, ((0, 0), (2, 2), (2, 2))))


def test_emnist_is_turned_upright_and_a_note_states_it(tmp_path: Path):
    files = {"emnist-letters-train-images-idx3-ubyte": idx(GREY), "emnist-letters-train-labels-idx1-ubyte": idx(LABELS)}
    images = images_of(write(tmp_path / "e", **files), channels="L")
    assert_set(images, GREY.transpose(0, 2, 1)[..., None], LABELS)
    assert "EMNIST's images are stored transposed, and are turned upright" in str(images.description)
    write(tmp_path / "e", **{"emnist-digits-train-images-idx3-ubyte": idx(GREY)})
    with pytest.raises(ValueError, match=r"several sets: emnist-digits-, emnist-letters-: name one file"):
        images_of(tmp_path / "e")


@pytest.mark.parametrize(
    "blob",
    [idx(GREY)[:-1], idx(GREY) + b"\0", idx(GREY)[:9], b"\0\0\x08\3" + b"\xff" * 12, gzip.compress(idx(GREY))[:50]],
    ids=["a value less", "a value more", "half a header", "absurd lengths", "half a gzip"],
)
def test_an_idx_of_another_length_than_it_claims_is_refused(blob: bytes, tmp_path: Path):
    root = write(tmp_path / "mnist", **{"train-images-idx3-ubyte": blob})
    with pytest.raises(ValueError, match=r"cannot read .*mnist") as error:
        images_of(root)
    assert "\n" not in str(error.value)
