"""Images of one's own: the same from a folder, a zip or an npz; odd ones read rightly or named; nothing escapes."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limpid.cli.main import main
from limpid.cli.parser import parse
from limpid.data import Folder
from limpid.data.images import ImageDataset, resize
from limpid.data.readers.decode import decode
from limpid.data.readers.fit import ImageSpec
from limpid.data.splits import unit_hash
from limpid.data.stream import StreamingDataset
from limpid.recipes.registry import RECIPES, find_recipe

PIXELS = torch.randint(256, (40, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that data is kept in while a test runs."""
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "kept"))
    return tmp_path / "kept"


def image(index: int) -> Image.Image:
    return Image.fromarray(PIXELS[index].permute(1, 2, 0).numpy())


def png(index: int = 0) -> bytes:
    file = io.BytesIO()
    image(index).save(file, "PNG")
    return file.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, blob in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(blob)
    return root


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, blob in files.items():
            archive.writestr(name, blob)
    return path


def whole(root: Path, **options: object) -> ImageDataset:
    """All images of a place, in their own size."""
    given = {"size": 16, "width": 20, "split": "all"} | options
    source = Folder(str(root), **given).open("cpu")  # pyright: ignore[reportArgumentType]
    assert isinstance(source, ImageDataset)
    return source


def numbers(images: ImageDataset) -> list[int]:
    """Which of PIXELS the images are."""
    return [(one == PIXELS).flatten(1).all(1).nonzero().item() for one in images.pixels]  # pyright: ignore[reportReturnType]


CLASSES = {f"{'cat' if i % 3 else 'dog'}/{i:02d}.png": png(i) for i in range(12)}
EXPECTED = [i for i in range(12) if i % 3] + [0, 3, 6, 9]


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
    images = whole(place)
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
    images = whole(zipped(tmp_path / "p.zip", files) if packed else write(tmp_path / "p", files))
    assert images.class_names == classes
    assert len(images) == len(names)
    if classes:
        parts = [names[number].split("/") for number in numbers(images)]
        assert all(images.class_names[label] in part for label, part in zip(images.labels, parts, strict=True))
    else:
        assert images.labels.tolist() == [0] * len(names)


def test_images_are_brought_to_the_size_and_colours_asked_for(tmp_path: Path):
    place = write(tmp_path / "p", {"a.png": png(0)})
    assert torch.equal(whole(place, size=8, width=10).pixels, resize(PIXELS[:1], (8, 10)))
    assert torch.equal(whole(place, size=8, width=0).pixels, resize(PIXELS[:1, :, :, 2:18], 8))
    for options in (
        {"channels": "L"},
        {"channels": "RGBA"},
        {"fit": "stretch", "width": 8},
        {"fit": "pad", "size": 20},
    ):
        given = Folder(str(place), 16, 20, split="all")
        folder = replace(given, **options)
        frame = ImageSpec(folder.size, folder.width, folder.channels, folder.fit)
        assert torch.equal(whole(place, **options).pixels[0], decode(png(0), frame).pixels)


def test_a_sample_written_as_npz_is_read(tmp_path: Path):
    """The arrays that `limpid sample --npz` writes, for a network without classes."""
    pixels, empty = PIXELS[:5].permute(0, 2, 3, 1).numpy(), np.array([], dtype=np.int64)
    np.savez(tmp_path / "a.npz", images=pixels, seeds=np.arange(5), labels=empty)
    np.savez(tmp_path / "b.npz", pixels)
    for name in ("a.npz", "b.npz"):
        images = whole(tmp_path / name)
        assert numbers(images) == [0, 1, 2, 3, 4]
        assert images.class_names == ()
    np.savez(tmp_path / "grey.npz", images=PIXELS[:5, 0].numpy())
    assert torch.equal(whole(tmp_path / "grey.npz", channels="L").pixels, PIXELS[:5, :1])


def test_the_splits_are_all_images_once_and_new_images_move_none(tmp_path: Path):
    names = [f"{i}.png" for i in range(300)]

    def splits(names: list[str]) -> dict[str, set[bytes]]:
        marked = {name: Image.new("RGB", (2, 2), (int(name[:-4]) % 256, int(name[:-4]) // 256, 0)) for name in names}
        for name, one in marked.items():
            (tmp_path / "p").mkdir(exist_ok=True)
            one.save(tmp_path / "p" / name)
        found = {}
        for split in ("train", "test", "all"):
            pixels = whole(tmp_path / "p", size=2, width=2, split=split, held_out=0.2).pixels
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


def test_the_lot_of_a_name_is_known_for_ever():
    """Were it drawn otherwise in a later version, images would move from test to training."""
    assert [round(unit_hash(name), 6) for name in ("0", "cat/00.png", "Éclair.png")] == [0.374709, 0.744014, 0.560942]


HOSTILE = {
    "empty.png": (b"", "it is empty"),
    "truncated.png": (png()[:200], "truncated"),
    "text.jpg": (b"<html>404</html>", "in no known format"),
    "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "in no known format"),
    "new\nline.png": (b"", "it is empty"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("name", HOSTILE)
def test_an_image_that_cannot_be_read_stops_or_is_left_out_and_named(
    name: str, packed: bool, tmp_path: Path, kept: Path, capsys
):
    blob, why = HOSTILE[name]
    files = {"a.png": png(0), name: blob, "z.png": png(1)}
    place = zipped(tmp_path / "p.zip", files) if packed else write(tmp_path / "p", files)
    for _ in range(2):  # the second time from what is kept
        with pytest.raises(ValueError, match=why) as error:
            whole(place)
        message = str(error.value)
        assert "\n" not in message
        assert name.replace("\n", "\\n") in message
        assert "with on-error skip" in message
        assert numbers(whole(place, on_error="skip")) == [0, 1]
        (report,) = kept.rglob("report.txt")
        line = capsys.readouterr().err
        for part in ("2 images", "1 could not be read", name.replace("\n", "\\n"), str(report)):
            assert part in line
        assert why in report.read_text()


def test_a_suffix_does_not_decide_what_an_image_is(tmp_path: Path):
    jpeg = io.BytesIO()
    image(3).save(jpeg, "JPEG", quality=95)
    files = {"a.png": jpeg.getvalue(), "b": png(1), "c.TXT": png(2), "readme.txt": b"hello", "d.PNG": png(3)}
    described = str(whole(write(tmp_path / "p", files)).description)
    assert "4 images of 16x20, RGB" in described
    assert "left out: 1 .txt file (readme.txt)" in described


def test_what_systems_leave_beside_images_is_not_seen(tmp_path: Path):
    files = {"cat/a.png": png(0), "dog/b.png": png(1), "cat/._a.png": b"", ".thumbnails/a.png": png(2)}
    files["__MACOSX/cat/._a.png"] = b""
    for place in (write(tmp_path / "p", files), zipped(tmp_path / "p.zip", files)):
        assert numbers(whole(place)) == [0, 1]
        assert whole(place).class_names == ("cat", "dog")


def test_links_are_followed_once(tmp_path: Path):
    place = write(tmp_path / "p", {"cat/a.png": png(0), "dog/b.png": png(1)})
    outside = write(tmp_path / "outside", {"c.png": png(2)})
    (place / "cat" / "up").symlink_to(place)
    (place / "cat" / "again").symlink_to(place / "dog")
    (place / "dog" / "again").symlink_to(place / "cat")
    (place / "emu").symlink_to(outside)
    (place / "dog" / "linked.png").symlink_to(outside / "c.png")
    images = whole(place)
    assert numbers(images) == [0, 1, 2, 2]
    assert [images.class_names[label] for label in images.labels] == ["cat", "dog", "dog", "emu"]


def test_links_to_nowhere_pipes_and_what_is_closed_are_named(tmp_path: Path, kept: Path):
    place = write(tmp_path / "p", {"a.png": png(0)})
    (place / "gone.png").symlink_to(place / "nothing")
    (place / "loop.png").symlink_to(place / "loop.png")
    os.mkfifo(place / "pipe.png")
    (place / "null.png").symlink_to("/dev/null")
    with pytest.raises(ValueError, match=r"gone\.png: No such file"):
        whole(place)
    assert numbers(whole(place, on_error="skip")) == [0]
    (report,) = kept.rglob("report.txt")
    assert report.read_text().splitlines() == [
        "cannot be read: gone.png: No such file or directory",
        "cannot be read: loop.png: Too many levels of symbolic links",
        "cannot be read: null.png: it is a device or a pipe",
        "cannot be read: pipe.png: it is a device or a pipe",
    ]


@contextmanager
def nobody() -> Iterator[None]:
    """Without the rights of root, where the tests have them."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_and_a_folder_without_permission_are_named_until_they_have_it(monkeypatch, capsys):
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o777)
        monkeypatch.setenv("LIMPID_DATA", f"{scratch}/kept")
        place = write(Path(scratch, "p"), {"a.png": png(0), "b.png": png(1), "c/d.png": png(2)})
        os.chmod(place / "b.png", 0)
        os.chmod(place / "c", 0)
        with nobody():
            with pytest.raises(ValueError, match="c/: Permission denied"):
                whole(place)
            assert numbers(whole(place, on_error="skip")) == [0]
        assert "2 could not be read (c/: Permission denied; b.png: Permission denied)" in capsys.readouterr().err
        os.chmod(place / "b.png", 0o644)
        os.chmod(place / "c", 0o755)
        with nobody():
            assert numbers(whole(place)) == [0, 1, 2]


def test_names_in_any_encoding_are_read_and_spelt_out(tmp_path: Path, capsys):
    place = write(tmp_path / "p", {"ü/a.png": png(0)})
    odd = os.fsencode(place) + b"/\xff\xfe\x1b[31m"
    os.mkdir(odd)
    for name, blob in ((b"/b.png", png(1)), (b"/\x80.png", b"")):
        with open(odd + name, "wb") as file:
            file.write(blob)
    images = whole(place, on_error="skip")
    assert numbers(images) == [0, 1]
    assert images.class_names == ("ü", r"\udcff\udcfe\x1b[31m")
    message = capsys.readouterr().err
    assert message.removesuffix("\n").isprintable()
    message.encode()


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "..\\out.png"])
def test_names_that_lead_out_of_a_zip_lead_nowhere(name: str, tmp_path: Path):
    place = zipped(tmp_path / "p.zip", {"a.png": png(0), name: png(1)})
    assert 0 in numbers(whole(place, on_error="skip"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "p.zip"]
    with pytest.raises(ValueError, match="its name leads out of the zip"):
        whole(place)


def test_zips_that_need_more_than_a_bounded_piece_are_refused(tmp_path: Path, monkeypatch):
    bomb = bytes(2**23)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(ValueError, match="packed by another method"):
            whole(zipped(tmp_path / "p.zip", {"a.png": bomb}, method))
    monkeypatch.setattr("limpid.data.readers.scan.MAX_FILE_BYTES", 2**20)
    with pytest.raises(ValueError, match="longer than 1,048,576 bytes"):
        whole(zipped(tmp_path / "p.zip", {"a.png": bomb}))


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
        whole(npz(tmp_path / "a.npz", header, bytes(100)))
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
        whole(path)


def test_an_array_of_class_names_says_what_the_labels_mean(tmp_path: Path):
    pixels, names = PIXELS[:4].permute(0, 2, 3, 1).numpy(), np.array(["cat", "dog", "emu"])
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.array([2, 0, 0, 2]), class_names=names)
    images = whole(tmp_path / "a.npz")
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
            whole(tmp_path / "a.npz")


def test_an_array_without_images_or_with_odd_labels_is_refused(tmp_path: Path):
    pixels = PIXELS[:4].permute(0, 2, 3, 1).numpy()
    for arrays, message in (
        ({"first": pixels, "second": pixels}, r"its arrays are first \(uint8, 4 x 16 x 20 x 3\), second"),
        ({"images": pixels, "labels": np.array([0, 1])}, "expected one for each of 4 images"),
        ({"images": pixels, "labels": np.array([0.5] * 4)}, "its labels are float64: expected whole numbers or words"),
        ({"images": pixels, "labels": np.array([None] * 4)}, "no array of numbers or words"),
    ):
        np.savez(tmp_path / "a.npz", **arrays)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match=message):
            whole(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.array([7, -2, 2**40, 7]))
    images = whole(tmp_path / "a.npz")
    assert [images.class_names[label] for label in images.labels] == ["7", "-2", str(2**40), "7"]


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
def test_a_place_that_cannot_be_used_gets_one_line(
    options: dict[str, object], message: str, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"p/a.png": png(0), "p/b.png": png(1), "text.zip": b"no", "text.npz": b"no"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=message) as error:
        Folder(**({"root": "p"} | options)).open("cpu")  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)


def test_images_are_decoded_once_and_again_when_they_change(tmp_path: Path, monkeypatch):
    place = write(tmp_path / "p", {"a.png": png(0), "b.png": png(1)})
    first = whole(place)

    def forbidden(*_: object) -> None:
        raise AssertionError("it is decoded again")

    with monkeypatch.context() as patch:
        patch.setattr("limpid.data.readers.scan.decode", forbidden)
        assert torch.equal(whole(place).pixels, first.pixels)
    (place / "b.png").write_bytes(png(2))
    assert numbers(whole(place)) == [0, 2]
    (place / "c.png").write_bytes(png(3))
    assert numbers(whole(place)) == [0, 2, 3]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device"), ValueError("broken")])
def test_a_packing_that_fails_leaves_nothing(failure: BaseException, tmp_path: Path, kept: Path, monkeypatch):
    place = write(tmp_path / "p", {"a.png": png(0), "b.png": png(1)})

    def fails(*_: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fails)
        expected = KeyboardInterrupt if failure is KeyboardInterrupt else ValueError
        with pytest.raises(expected) as error:
            whole(place)
    if isinstance(failure, OSError):
        assert "No space left on device; LIMPID_DATA names another folder" in str(error.value)
    assert list((kept / "packed").iterdir()) == []
    assert numbers(whole(place)) == [0, 1]


def test_a_disk_without_room_gets_one_line(tmp_path: Path, kept: Path, monkeypatch):
    place = write(tmp_path / "p", {"a.png": png(0)})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
        with pytest.raises(ValueError, match=r"1 images need 960 bytes in .*, and 10 are free"):
            whole(place)


@pytest.mark.parametrize("name", ["pixels.u8", "labels.npy", "about.json"])
@pytest.mark.parametrize(
    "spoil",
    [lambda blob: b"short", lambda blob: blob[:-9] + bytes([blob[-9] ^ 1]) + blob[-8:], None],
    ids=["cut short", "a flipped bit", "gone"],
)
def test_a_pack_that_is_not_as_it_was_written_is_made_again_and_named(name: str, spoil, tmp_path: Path, kept, capsys):
    place = write(tmp_path / "p", CLASSES)
    first = whole(place)
    labels = first.labels.clone()
    (file,) = kept.rglob(name)
    if spoil:
        damaged = spoil(file.read_bytes())
        file.unlink()  # what is mapped stays as it is
        file.write_bytes(damaged)
    else:
        file.unlink()
    capsys.readouterr()
    again = whole(place)
    assert torch.equal(again.pixels, first.pixels)
    assert torch.equal(again.labels, labels)
    assert f"{file.parent} is damaged (" in capsys.readouterr().err
    assert [path.name for path in (kept / "packed").iterdir()] == [file.parent.name]
    whole(place)
    assert capsys.readouterr().err == ""


def test_pixels_that_are_many_are_read_through_only_if_they_are_newer_than_their_pack(
    tmp_path: Path, kept: Path, monkeypatch, capsys
):
    monkeypatch.setattr("limpid.data.readers.packed.MAX_RESIDENT_BYTES", 100)
    place = write(tmp_path / "p", CLASSES)
    whole(place)
    with monkeypatch.context() as patch:
        patch.setattr("limpid.data.readers.packed.pack_checksum", lambda *_: pytest.fail("it reads all of them"))
        whole(place)
    capsys.readouterr()
    (file,) = kept.rglob("pixels.u8")
    file.write_bytes(bytes(file.stat().st_size))
    assert numbers(whole(place)) == EXPECTED
    assert "its checksum differs" in capsys.readouterr().err


def test_what_a_killed_packing_left_is_removed(tmp_path: Path, kept: Path):
    left = kept / "packed" / f"{'0' * 32}.0123abcd.part"
    left.mkdir(parents=True)
    (left / "pixels.u8").touch()
    for path in (left / "pixels.u8", left):
        os.utime(path, (time.time() - 4_000, time.time() - 4_000))
    assert numbers(whole(write(tmp_path / "p", {"a.png": png(0)}))) == [0]
    assert not left.exists()


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
    drawn = ImageDataset(pixels, torch.zeros(n, dtype=torch.int64)).batches(0, 64, 0)
    for _ in range(20):
        batch, _ = next(drawn)
        assert batch.shape == (64, 3, 64, 64) and not batch.any()
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))

print(-kilobytes(1_000) + kilobytes(1_000_000))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
def test_a_million_images_take_the_memory_of_a_thousand(tmp_path: Path):
    """But for 16 bytes each, their labels and the order they are shown in: 12 GB of pixels stay on disk."""
    more = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, check=True).stdout
    assert int(more) < 40_000


def test_what_the_page_on_own_images_tells_to_type_is_understood(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "own-images.md").read_text(encoding="utf-8")
    commands = [shlex.split(line.split("#")[0]) for line in page.splitlines() if line.startswith("    limpid ")]
    given = [words for words in commands if words[1] in ("train", "show")]
    assert len(given) == 3
    for words in given:
        recipe, *options = words[2 + (words[1] == "show") :]
        at = options.index("--run") if "--run" in options else len(options)
        assert parse(RECIPES[recipe](), options[:at], "limpid").data == Folder("photos")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.toml").write_text(text)
    assert find_recipe(str(tmp_path / "mine.toml")).data == Folder("photos")


def test_a_run_is_trained_on_a_folder_from_the_command_line(tmp_path: Path, capsys):
    place = write(tmp_path / "p", CLASSES)
    small = ["--images", "8", "--batch-size", "4", "--network.model-channels", "16", "--network.channel-mult", "1", "1"]
    small += ["--network.attn-resolutions", "4", "--sampling.steps", "2", "--device", "cpu"]
    data = ["--data", "Folder", "--data.root", str(place), "--data.size", "8", "--data.channels", "RGBA"]
    args = ["train", "demo", *small, *data, "--data.width", "12", "--run", str(tmp_path / "run")]
    assert main(args) == 0
    message = capsys.readouterr()
    assert "images of 8x12, RGBA" in message.out
    assert "fewer than the 10,000 that the recipes are made for: expect copies" in message.err
    assert json.loads((tmp_path / "run" / "data.json").read_text())["class_names"] == ["cat", "dog"]
    assert main(["train", "demo", "--data", "Folder", "--run", str(tmp_path / "other")]) == 2
    assert "--data.root PATH" in capsys.readouterr().err


def test_a_run_begun_beside_its_images_goes_on_from_any_folder(tmp_path: Path, monkeypatch, capsys):
    write(tmp_path / "p", CLASSES)
    (tmp_path / "elsewhere").mkdir()
    small = [
        "--batch-size",
        "4",
        "--network.model-channels",
        "16",
        "--network.channel-mult",
        "1",
        "1",
        "--network.attn-resolutions",
        "4",
    ]
    data = ["--data", "Folder", "--data.root", "p", "--data.size", "8", "--data.channels", "L"]
    monkeypatch.chdir(tmp_path)
    here = [
        "train",
        "demo",
        *small,
        *data,
        "--sampling.steps",
        "2",
        "--device",
        "cpu",
        "--run",
        "run",
        "--allow-rewarm",
    ]
    assert main([*here, "--images", "8"]) == 0
    assert main([*here, "--images", "12"]) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "../run", "--run", "../run", "--images", "16", "--device", "cpu", "--allow-rewarm"]) == 0
    assert "16 of 16 images" in capsys.readouterr().out
