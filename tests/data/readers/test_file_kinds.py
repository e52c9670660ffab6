"""Kinds of files: an image of a format that is not read is recognized by its name or its content."""

from pathlib import Path

import pytest
from listed_files import PNG, encoded, folder_of, scan
from PIL import TiffImagePlugin

from limpid.data.readers.file_kinds import UNREAD_KINDS, unread_kind
from limpid.data.readers.listing import left_out_by_reason
from limpid.data.readers.scan import read_image, scan_folder


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_images_that_are_not_read_are_refused_by_name_with_what_to_do(form: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("limpid.data.readers.file_kinds.find_spec", lambda _: None)
    suffixes = {f"{kind.suffixes[0]}": kind for kind in UNREAD_KINDS}
    unread = {f"cat/a{suffix}": str(kind) for suffix, kind in suffixes.items()}
    unread["dog/a.npy"] = unread["cat/a.npy"]
    listing = scan(form, tmp_path, dict.fromkeys(unread, b"") | {"cat/b.png": PNG, "dog/b.png": PNG})
    assert listing.classes == ("cat", "dog")
    assert {image.name: image.why for image in listing.refused} == unread
    assert listing.left_out == ()
    assert len(left_out_by_reason(listing.refused)) == len(UNREAD_KINDS)


SIGNED = {
    "a HEIC image": b"\0\0\0\x18ftypheic\0\0\0\0",
    "a JPEG XL image": b"\xff\x0a\xfa\x7f",
    "a JPEG 2000 image": encoded("JPEG2000"),
    "a Photoshop document": b"8BPS\0\1",
    "an icon file": encoded("ICO"),
    "a DDS texture": encoded("DDS"),
    "an OpenEXR image": b"v/1\x01\2\0\0\0",
    "a Radiance HDR image": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n",
    "a DICOM image": bytes(128) + b"DICM",
    "a NIfTI volume": bytes(344) + b"n+1\0",
    "an SVG drawing": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "a video": b"\0\0\0\x20ftypisom\0\0\2\0",
    "a NumPy array": b"\x93NUMPY\1\0",
}


def raw_photograph(**tags: int) -> bytes:
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[int(tag[1:])] = value
    return encoded("TIFF", tiffinfo=directory)


@pytest.mark.parametrize("name", ["a", "a.png"])
def test_images_that_are_not_read_are_known_by_their_first_bytes(name: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("limpid.data.readers.file_kinds.find_spec", lambda _: None)
    signed = [*SIGNED.items(), ("a raw photograph", raw_photograph(_50706=1, _254=1, _330=8))]
    signed += [("a raw photograph", raw_photograph(_254=1, _330=8))]
    for kind, blob in signed:
        for each in scan_folder(folder_of(tmp_path, {name: blob, "z.png": PNG})).refused:
            assert each.why.startswith(f"it is {kind}: ")
            assert name == "a"
        with pytest.raises(ValueError, match=f"cannot read the image .*: it is {kind}: "):
            read_image(tmp_path / "set" / name, (3, 4, 4))


def test_a_format_that_is_read_is_not_taken_for_one_that_is_not():
    for format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF"):
        assert unread_kind(encoded(format)) is None
    assert unread_kind(b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf") is None
    assert unread_kind(raw_photograph(_254=0)) is None


def test_heic_is_read_where_its_package_is_installed(tmp_path: Path, monkeypatch):
    for spec, names in ((object(), ["a.HEIC", "b", "z.png"]), (None, ["z.png"])):
        monkeypatch.setattr("limpid.data.readers.file_kinds.find_spec", lambda _, spec=spec: spec)
        listing = scan("folder", tmp_path, {"a.HEIC": b"", "b": SIGNED["a HEIC image"], "z.png": PNG})
        assert listing.names == names
