"""An .npz of arrays: its images, labels and class names, or one line that names what is wrong."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from own_images import PIXELS, numbers, open_all, zipped


def test_a_sample_written_as_npz_is_read(tmp_path: Path):
    """The arrays that `limpid sample --npz` writes, for a network without classes."""
    pixels, empty = PIXELS[:5].permute(0, 2, 3, 1).numpy(), np.array([], dtype=np.int64)
    np.savez(tmp_path / "a.npz", images=pixels, seeds=np.arange(5), labels=empty)
    np.savez(tmp_path / "b.npz", pixels)
    for name in ("a.npz", "b.npz"):
        images = open_all(tmp_path / name)
        assert numbers(images) == [0, 1, 2, 3, 4]
        assert images.class_names == ()
    np.savez(tmp_path / "grey.npz", images=PIXELS[:5, 0].numpy())
    assert torch.equal(open_all(tmp_path / "grey.npz", channels="L").pixels, PIXELS[:5, :1])


def npz(path: Path, header: str, body: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    """An .npz whose array has this header."""
    head = header.encode().ljust(118)
    blob = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + body
    return zipped(path, {"images.npy": blob}, method)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 32, 32, 3)}", "is of another length"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -1, 10, 10)}", "no array of numbers or words"),
        ("{'descr': '|u1', 'fortran_order': True, 'shape': (1, 10, 10, 1)}", "is in Fortran order: expected C order"),
        (
            "{'descr': '|O', 'fortran_order': False, 'shape': (1, 10, 10, 1)}",
            "no array of numbers or words, but",
        ),
        ("{'descr': '<c8', 'fortran_order': False, 'shape': (1, 12, 1, 1)}", "is of another length"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 10, 5, 2)}", "it has 2 channels: expected 1, 3 or 4"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 10, 5, 3)}", "is of another length"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (10, 10)}", "rows of 10 numbers are no square images"),
        ("{'descr': '|u1', 'shape': (1, 10, 10, 1)}", "Header does not contain the correct keys"),
        ("__import__('os').system('true')", "malformed node"),
    ],
)
def test_an_array_that_is_not_what_it_claims_is_refused(header: str, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message) as error:
        open_all(npz(tmp_path / "a.npz", header, bytes(100)))
    assert "\n" not in str(error.value)


def test_an_array_that_claims_more_than_can_be_packed_in_it_is_refused(tmp_path: Path):
    """The sizes in the zip's own directory are a lie, too: a gigabyte in what is a thousand bytes."""
    claimed = 2**30
    path = npz(
        tmp_path / "a.npz",
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({claimed // 64}, 8, 8, 1)}}",
        bytes(1_000),
        zipfile.ZIP_DEFLATED,
    )
    blob = path.read_bytes()
    size = (1_000 + 128).to_bytes(4, "little")
    assert blob.count(size) == 2
    path.write_bytes(blob.replace(size, (claimed + 128).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="claims more than can be packed in it"):
        open_all(path)


def test_an_array_of_class_names_names_the_labels(tmp_path: Path):
    pixels, names = PIXELS[:4].permute(0, 2, 3, 1).numpy(), np.array(["cat", "dog", "emu"])
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.array([2, 0, 0, 2]), class_names=names)
    images = open_all(tmp_path / "a.npz")
    assert (images.class_names, images.labels.tolist()) == (("cat", "dog", "emu"), [2, 0, 0, 2])
    for arrays, message in (
        ({"labels": np.array([1, 2, 3, 1]), "class_names": names}, "its labels are 1 to 3, and it names 3 classes"),
        ({"labels": np.array([-1, 2, 0, 1]), "class_names": names}, "its labels are -1 to 2, and it names 3 classes"),
        ({"labels": np.zeros(4, int), "class_names": np.array([1, 2])}, "its class names are class_names (int64, 2)"),
        (
            {"labels": np.zeros(4, int), "class_names": np.array([["a"]])},
            "class names are class_names (<U1, 1 x 1)",
        ),
        ({"labels": np.zeros(4, int), "class_names": np.array(["a" * 2**22, "b"])}, "expected a row of words"),
        ({"labels": np.zeros(4, int), "class_names": np.array([None])}, "no array of numbers or words"),
    ):
        np.savez_compressed(tmp_path / "a.npz", images=pixels, **arrays)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match=re.escape(message)):
            open_all(tmp_path / "a.npz")


def test_an_array_without_images_or_with_odd_labels_is_refused(tmp_path: Path):
    pixels = PIXELS[:4].permute(0, 2, 3, 1).numpy()
    for arrays, message in (
        ({"first": pixels, "second": pixels}, r"its arrays are first \(uint8, 4 x 16 x 20 x 3\), second"),
        ({"images": pixels, "labels": np.array([0, 1])}, "expected one for each of 4 images"),
        (
            {"images": pixels, "labels": np.array([0.5] * 4)},
            "its labels are float64: expected whole numbers or words",
        ),
        ({"images": pixels, "labels": np.array([None] * 4)}, "no array of numbers or words"),
    ):
        np.savez(tmp_path / "a.npz", **arrays)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match=message):
            open_all(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.array([7, -2, 2**40, 7]))
    images = open_all(tmp_path / "a.npz")
    assert [images.class_names[label] for label in images.labels] == ["7", "-2", str(2**40), "7"]
