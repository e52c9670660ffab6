"""Sets damaged at random: read, or refused in one line; nothing is run or written, and memory is bounded."""

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from encoded_images import images_of_each_format
from fuzzing import EDITS, ROUNDS, Edits, counted, edited, fuzzed, try_reading
from hypothesis import given
from hypothesis import strategies as st
from published_sets import cifar100_pickles, cifar100_records, stl10, svhn
from small_sets import LABELS, PIXELS, SETS, npz

from limpid.data import Folder
from limpid.data.readers import cifar10_files
from limpid.data.readers.cifar10_files import LAYOUTS

PACKING = ("open (", "os.mkdir", "os.rename", "shutil.rmtree", "shutil", "os.remove", "os.rmdir")
"""What a reader may do in the cache."""


def opener(path: Path, blob: bytes) -> Callable[[], object]:
    """Opens the images of a file of these bytes."""
    path.write_bytes(blob)
    return lambda: Folder(str(path), 16, split="all", on_error="skip").open("cpu")


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, blob in (
            ("cat/a.png", images_of_each_format()["PNG"][0]),
            ("dog/b.jpg", images_of_each_format()["JPEG"][0]),
            ("dog/c.txt", b"hello"),
        ):
            packed.writestr(name, blob)
        packed.writestr(zipfile.ZipInfo("dog/stored.gif"), images_of_each_format()["GIF"][0])
    return file.getvalue()


def arrays(compressed: bool) -> bytes:
    file = io.BytesIO()
    pixels = np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape(5, 8, 8, 3)
    (np.savez_compressed if compressed else np.savez)(file, images=pixels, labels=np.arange(5))
    return file.getvalue()


def members(blob: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(blob)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def repacked(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, blob in files.items():
            packed.writestr(name, blob)
    return file.getvalue()


FORMS = {
    "zip": lambda: [archive()],
    "npz": lambda: [arrays(False), arrays(True), SETS["npz of splits"](), SETS["npz of floats"]()],
    "npy": lambda: [SETS["npy"]()],
    "idx": lambda: [SETS["idx"](), SETS["idx.gz"]()],
    "tar": lambda: [SETS["tar"](), SETS["tar.gz"](), SETS["webdataset"]()],
    "hdf5": lambda: [SETS["hdf5"]()],
    "parquet": lambda: [SETS["parquet"](), SETS["uncompressed parquet"]()],
}
"""Sets of a few images in every form of one file."""
ZIPS = ("zip", "npz")


@pytest.mark.parametrize("kind", FORMS)
def test_a_broken_set_is_read_or_refused(kind: str, tmp_path: Path, capsys):
    mine = FORMS[kind]()
    place = tmp_path / f"a.{kind}"

    @fuzzed(ROUNDS)
    @given(st.sampled_from(mine), EDITS, st.booleans(), st.integers(0, 3))
    def run(blob: bytes, edits: Edits, inside: bool, which: int) -> None:
        if inside and kind in ZIPS:  # broken within, so that the archive's own checksums are right
            files = members(blob)
            name = list(files)[which % len(files)]
            broken = repacked(files | {name: edited(files[name], blob, edits)})
        else:
            broken = edited(blob, blob, edits)
        if inside and kind == "tar" and not broken.startswith(b"\x1f\x8b"):
            broken = with_new_tar_checksums(broken)
        try_reading(opener(place, broken), outcomes, *PACKING)
        printed = capsys.readouterr().err.splitlines()
        assert len(printed) <= 1
        assert all(line.isprintable() for line in printed)

    with counted(kind, capsys) as outcomes:
        try_reading(
            opener(place, mine[0][: len(mine[0]) // 2]), outcomes, *PACKING
        )  # refused, whatever hypothesis finds
        run()
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", place.name}


PUBLISHED = {
    "CIFAR-100 pickles": cifar100_pickles,
    "CIFAR-100 records": cifar100_records,
    "SVHN": lambda: {"train_32x32.mat": svhn(slice(0, 3), packed=False), "test_32x32.mat": svhn(slice(0, 9))},
    "STL-10": stl10,
    "npz files": lambda: {
        "kmnist-train-imgs.npz": npz(arr_0=PIXELS[:8, ..., 0]),
        "kmnist-train-labels.npz": npz(arr_0=LABELS[:8]),
        "kmnist-test-imgs.npz": npz(arr_0=PIXELS[8:, ..., 0]),
        "kmnist-test-labels.npz": npz(arr_0=LABELS[8:]),
    },
}
"""The files of a few images of each published set."""


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_broken_published_set_is_read_or_refused(kind: str, tmp_path: Path, capsys):
    files, root = PUBLISHED[kind](), tmp_path / "set"
    root.mkdir()

    def opened(changed: dict[str, bytes]) -> Callable[[], object]:
        for name, blob in (files | changed).items():
            (root / name).write_bytes(blob)
        return lambda: Folder(str(root), 16, split="all", on_error="skip").open("cpu")

    @fuzzed(ROUNDS)
    @given(st.sampled_from(list(files)), EDITS, st.booleans())
    def run(name: str, edits: Edits, near: bool) -> None:
        blob = files[name]
        if near and name.endswith(".npz"):  # broken within, so that the checksums are right
            try_reading(
                opened({name: repacked({each: edited(b, b, edits) for each, b in members(blob).items()})}),
                outcomes,
                *PACKING,
            )
            return
        edge = blob[:400] if near else blob  # most of a file is pixels: half of the changes are made in front of them
        try_reading(opened({name: edited(edge, blob, edits) + blob[len(edge) :]}), outcomes, *PACKING)

    with counted(kind, capsys) as outcomes:
        name, blob = list(files.items())[-1]
        try_reading(opened({name: blob[: len(blob) // 2]}), outcomes, *PACKING)  # refused, whatever hypothesis finds
        run()
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "set"}


def batch(protocol: int) -> bytes:
    pixels = np.arange(20 * 3072, dtype=np.uint32).reshape(20, 3072).astype(np.uint8)
    return pickle.dumps(
        {b"data": pixels, b"labels": [i % 10 for i in range(20)], b"filenames": [b"x.png"] * 20}, protocol
    )


def with_new_tar_checksums(tar: bytes) -> bytes:
    """A tar with the checksums of its first two headers corrected, so that a change in them is read at all."""
    blob = bytearray(tar)
    for at in (0, 1_024):
        if at + 512 <= len(blob):
            blob[at + 148 : at + 156] = b" " * 8
            blob[at + 148 : at + 156] = b"%06o\0 " % sum(blob[at : at + 512])
    return bytes(blob)


@pytest.mark.parametrize("kind", ["pickle", "records", "tar", "tar.gz"])
def test_a_broken_cifar_is_read_or_refused(kind: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(cifar10_files, "PER_BATCH", 20)  # small, to be quick
    layout = LAYOUTS[kind == "records"]
    name = layout.files("test")[0]
    records = np.concatenate([np.arange(20)[:, None] % 10, np.ones((20, 3072))], 1).astype(np.uint8).tobytes()

    def packed(blob: bytes) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for member, body in ((f"{layout.folder}/readme.html", b"hello"), (f"{layout.folder}/{name}", blob)):
                entry = tarfile.TarInfo(member)
                entry.size = len(body)
                tar.addfile(entry, io.BytesIO(body))
        return file.getvalue()

    complete = {
        "pickle": [batch(3), batch(4)],
        "records": [records],
        "tar": [packed(batch(4))],
        "tar.gz": [gzip.compress(packed(batch(4)))],
    }[kind]
    path = tmp_path / (layout.archive if "tar" in kind else name)

    @fuzzed(ROUNDS)
    @given(st.sampled_from(complete), EDITS, st.booleans())
    def run(blob: bytes, edits: Edits, near: bool) -> None:
        # Most of a batch is pixels: half of the changes are made where its program is.
        edge = blob[:2_000] if near and kind in ("pickle", "tar") else blob
        broken = edited(edge, blob, edits) + blob[len(edge) :]
        path.write_bytes(gzip.compress(with_new_tar_checksums(broken), 1) if kind == "tar" else broken)
        place = path if "tar" in kind else tmp_path
        try_reading(lambda: cifar10_files.read_cifar10(place, layout, "test"), outcomes)

    with counted(f"CIFAR-10 {kind}", capsys) as outcomes:
        run()
    assert list(tmp_path.iterdir()) == [path]
