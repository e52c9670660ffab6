"""Decoded images are cached: made once, made again when they change or are damaged, and never left incomplete."""

import os
import time
from pathlib import Path

import pytest
import torch
from own_images import CLASSES, EXPECTED, numbers, open_all, png, write


def test_images_are_decoded_once_and_again_when_they_change(tmp_path: Path, monkeypatch):
    place = write(tmp_path / "p", {"a.png": png(0), "b.png": png(1)})
    first = open_all(place)

    def forbidden(*_: object) -> None:
        raise AssertionError("it is decoded again")

    with monkeypatch.context() as patch:
        patch.setattr("limpid.data.readers.scan.decode", forbidden)
        assert torch.equal(open_all(place).pixels, first.pixels)
    (place / "b.png").write_bytes(png(2))
    assert numbers(open_all(place)) == [0, 2]
    (place / "c.png").write_bytes(png(3))
    assert numbers(open_all(place)) == [0, 2, 3]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device"), ValueError("broken")])
def test_a_packing_that_fails_leaves_no_file(failure: BaseException, tmp_path: Path, cache: Path, monkeypatch):
    place = write(tmp_path / "p", {"a.png": png(0), "b.png": png(1)})

    def fails(*_: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fails)
        expected = KeyboardInterrupt if failure is KeyboardInterrupt else ValueError
        with pytest.raises(expected) as error:
            open_all(place)
    if isinstance(failure, OSError):
        assert "No space left on device; LIMPID_DATA names another folder" in str(error.value)
    assert list((cache / "packed").iterdir()) == []
    assert numbers(open_all(place)) == [0, 1]


def test_a_full_disk_is_refused_in_one_line(tmp_path: Path, cache: Path, monkeypatch):
    place = write(tmp_path / "p", {"a.png": png(0)})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
        with pytest.raises(ValueError, match=r"1 images need 960 bytes in .*, and 10 are free"):
            open_all(place)


@pytest.mark.parametrize("name", ["pixels.u8", "labels.npy", "about.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda blob: b"short", lambda blob: blob[:-9] + bytes([blob[-9] ^ 1]) + blob[-8:], None],
    ids=["cut short", "a flipped bit", "gone"],
)
def test_a_damaged_pack_is_named_and_made_again(name: str, damage, tmp_path: Path, cache, capsys):
    place = write(tmp_path / "p", CLASSES)
    first = open_all(place)
    labels = first.labels.clone()
    (file,) = cache.rglob(name)
    if damage:
        damaged = damage(file.read_bytes())
        file.unlink()  # what is mapped stays as it is
        file.write_bytes(damaged)
    else:
        file.unlink()
    capsys.readouterr()
    again = open_all(place)
    assert torch.equal(again.pixels, first.pixels)
    assert torch.equal(again.labels, labels)
    assert f"{file.parent} is damaged (" in capsys.readouterr().err
    assert [path.name for path in (cache / "packed").iterdir()] == [file.parent.name]
    open_all(place)
    assert capsys.readouterr().err == ""


def test_the_checksum_of_many_pixels_is_computed_only_if_their_file_is_newer_than_the_pack(
    tmp_path: Path, cache: Path, monkeypatch, capsys
):
    monkeypatch.setattr("limpid.data.readers.packed.MAX_RESIDENT_BYTES", 100)
    place = write(tmp_path / "p", CLASSES)
    open_all(place)
    with monkeypatch.context() as patch:
        patch.setattr("limpid.data.readers.packed.pack_checksum", lambda *_: pytest.fail("it reads all of them"))
        open_all(place)
    capsys.readouterr()
    (file,) = cache.rglob("pixels.u8")
    file.write_bytes(bytes(file.stat().st_size))
    assert numbers(open_all(place)) == EXPECTED
    assert "its checksum differs" in capsys.readouterr().err


def test_files_of_a_killed_packing_are_removed(tmp_path: Path, cache: Path):
    left = cache / "packed" / f"{'0' * 32}.0123abcd.part"
    left.mkdir(parents=True)
    (left / "pixels.u8").touch()
    for path in (left / "pixels.u8", left):
        os.utime(path, (time.time() - 4_000, time.time() - 4_000))
    assert numbers(open_all(write(tmp_path / "p", {"a.png": png(0)}))) == [0]
    assert not left.exists()
