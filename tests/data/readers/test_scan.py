"""Odd files among images: each is read rightly, or named; nothing leads out of the folder or the zip that is read."""

import io
import os
import tempfile
import zipfile
from pathlib import Path

import pytest
from own_images import image, numbers, open_all, png, write, zipped
from unprivileged import nobody

from limpid.data.folder import Folder
from limpid.runtime.log import warnings_once

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
    name: str, packed: bool, tmp_path: Path, cache: Path, capsys
):
    blob, why = HOSTILE[name]
    files = {"a.png": png(0), name: blob, "z.png": png(1)}
    place = zipped(tmp_path / "p.zip", files) if packed else write(tmp_path / "p", files)
    for _ in range(2):  # the second time from the cache
        with pytest.raises(ValueError, match=why) as error:
            open_all(place)
        message = str(error.value)
        assert "\n" not in message
        assert name.replace("\n", "\\n") in message
        assert "--data.on-error skip leaves out what cannot be read" in message
        with warnings_once():
            assert numbers(open_all(place, on_error="skip")) == [0, 1]
        (report,) = cache.rglob("report.txt")
        line = capsys.readouterr().err
        for part in ("2 images", "1 could not be read", name.replace("\n", "\\n"), str(report)):
            assert part in line
        assert why in report.read_text()


def test_a_suffix_does_not_decide_what_an_image_is(tmp_path: Path):
    jpeg = io.BytesIO()
    image(3).save(jpeg, "JPEG", quality=95)
    files = {"a.png": jpeg.getvalue(), "b": png(1), "c.TXT": png(2), "readme.txt": b"hello", "d.PNG": png(3)}
    described = str(open_all(write(tmp_path / "p", files)).description)
    assert "4 images of 16x20, RGB" in described
    assert "left out: 1 .txt file (readme.txt)" in described


def test_files_that_operating_systems_leave_beside_images_are_ignored(tmp_path: Path):
    files = {"cat/a.png": png(0), "dog/b.png": png(1), "cat/._a.png": b"", ".thumbnails/a.png": png(2)}
    files["__MACOSX/cat/._a.png"] = b""
    for place in (write(tmp_path / "p", files), zipped(tmp_path / "p.zip", files)):
        assert numbers(open_all(place)) == [0, 1]
        assert open_all(place).class_names == ("cat", "dog")


def test_links_are_followed_once(tmp_path: Path):
    place = write(tmp_path / "p", {"cat/a.png": png(0), "dog/b.png": png(1)})
    outside = write(tmp_path / "outside", {"c.png": png(2)})
    (place / "cat" / "up").symlink_to(place)
    (place / "cat" / "again").symlink_to(place / "dog")
    (place / "dog" / "again").symlink_to(place / "cat")
    (place / "emu").symlink_to(outside)
    (place / "dog" / "linked.png").symlink_to(outside / "c.png")
    images = open_all(place)
    assert numbers(images) == [0, 1, 2, 2]
    assert [images.class_names[label] for label in images.labels] == ["cat", "dog", "dog", "emu"]


def test_links_to_nowhere_pipes_and_what_is_closed_are_named(tmp_path: Path, cache: Path):
    place = write(tmp_path / "p", {"a.png": png(0)})
    (place / "gone.png").symlink_to(place / "nothing")
    (place / "loop.png").symlink_to(place / "loop.png")
    os.mkfifo(place / "pipe.png")
    (place / "null.png").symlink_to("/dev/null")
    with pytest.raises(ValueError, match=r"gone\.png: No such file"):
        open_all(place)
    assert numbers(open_all(place, on_error="skip")) == [0]
    (report,) = cache.rglob("report.txt")
    assert report.read_text().splitlines() == [
        "cannot be read: gone.png: No such file or directory",
        "cannot be read: loop.png: Too many levels of symbolic links",
        "cannot be read: null.png: it is a device or a pipe",
        "cannot be read: pipe.png: it is a device or a pipe",
    ]


def test_a_film_among_photographs_is_named_once_and_not_for_each_split(tmp_path: Path, cache: Path, capsys):
    files = {f"{i}.png": png(i) for i in range(8)} | {"IMG_1.MOV": b"\0\0\0\x14ftypqt  "}
    images = Folder(str(write(tmp_path / "p", files)), 8, held_out=0.5, on_error="skip").open("cpu")
    assert dict(images.description.splits).keys() == {"train", "held out"}
    assert capsys.readouterr().err.count("could not be read") == 1


def test_a_file_and_a_folder_without_permission_are_named_until_they_have_it(monkeypatch, capsys):
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o777)
        monkeypatch.setenv("LIMPID_DATA", f"{scratch}/cache")
        place = write(Path(scratch, "p"), {"a.png": png(0), "b.png": png(1), "c/d.png": png(2)})
        os.chmod(place / "b.png", 0)
        os.chmod(place / "c", 0)
        with nobody():
            with pytest.raises(ValueError, match="c/: Permission denied"):
                open_all(place)
            assert numbers(open_all(place, on_error="skip")) == [0]
        assert "2 could not be read (c/: Permission denied; b.png: Permission denied)" in capsys.readouterr().err
        os.chmod(place / "b.png", 0o644)
        os.chmod(place / "c", 0o755)
        with nobody():
            assert numbers(open_all(place)) == [0, 1, 2]


def test_names_in_any_encoding_are_read_and_spelt_out(tmp_path: Path, capsys):
    place = write(tmp_path / "p", {"ü/a.png": png(0)})
    odd = os.fsencode(place) + b"/\xff\xfe\x1b[31m"
    os.mkdir(odd)
    for name, blob in ((b"/b.png", png(1)), (b"/\x80.png", b"")):
        with open(odd + name, "wb") as file:
            file.write(blob)
    images = open_all(place, on_error="skip")
    assert numbers(images) == [0, 1]
    assert images.class_names == ("ü", r"\udcff\udcfe\x1b[31m")
    message = capsys.readouterr().err
    assert message.removesuffix("\n").isprintable()
    message.encode()


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "..\\out.png"])
def test_names_that_lead_out_of_a_zip_lead_nowhere(name: str, tmp_path: Path):
    place = zipped(tmp_path / "p.zip", {"a.png": png(0), name: png(1)})
    assert 0 in numbers(open_all(place, on_error="skip"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "p.zip"]
    with pytest.raises(ValueError, match="its name leads out of the zip"):
        open_all(place)


def test_zips_that_need_more_than_a_bounded_piece_are_refused(tmp_path: Path, monkeypatch):
    bomb = bytes(2**23)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(ValueError, match="packed by another method"):
            open_all(zipped(tmp_path / "p.zip", {"a.png": bomb}, method))
    monkeypatch.setattr("limpid.data.readers.scan.MAX_FILE_BYTES", 2**20)
    with pytest.raises(ValueError, match="longer than 1,048,576 bytes"):
        open_all(zipped(tmp_path / "p.zip", {"a.png": bomb}))
