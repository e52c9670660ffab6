"""TIFFs of several pages and animations: of each the first page is an image of the set, or all of them are."""

import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image

from limpid.data import Folder
from limpid.data.images import ImageDataset
from limpid.data.readers.decode import decode
from limpid.data.readers.fit import ImageSpec

PAGES = np.random.default_rng(0).integers(256, size=(12, 8, 8), dtype=np.uint8)
CONTENTS = {"a/scan.tif": PAGES[:3], "a/single.tif": PAGES[3:4], "b/cells.gif": PAGES[4:8], "b/more.png": PAGES[8:10]}


def encoded(name: str, pages: np.ndarray) -> bytes:
    file = io.BytesIO()
    if name.endswith("tif"):
        tifffile.imwrite(file, pages, photometric="minisblack")
    else:
        first, *others = map(Image.fromarray, pages)
        first.save(file, Path(name).suffix[1:], save_all=True, append_images=others)
    return file.getvalue()


@pytest.fixture(params=["folder", "zip", "tar"])
def pages(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A set of four files with ten pages."""
    for name, content in CONTENTS.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(encoded(name, content))
    root = tmp_path / ("set" if request.param == "folder" else f"set.{request.param}")
    if request.param == "zip":
        with zipfile.ZipFile(root, "w") as archive:
            for name in CONTENTS:
                archive.write(tmp_path / "set" / name, name)
    elif request.param == "tar":
        with tarfile.open(root, "w") as archive:
            for name in CONTENTS:
                archive.add(tmp_path / "set" / name, name)
    return Folder(str(root), 8, channels="L", split="all")


def opened(folder: Folder) -> ImageDataset:
    images = folder.open("cpu")
    assert isinstance(images, ImageDataset)
    return images


def test_the_first_page_is_read_and_a_note_states_that_there_are_more(pages: Folder):
    images = opened(pages)
    assert np.array_equal(images.pixels[:, 0].numpy(), PAGES[[0, 3, 4, 8]])
    assert "  3 files have more pages; --data.pages all reads them" in str(images.description).splitlines()


def test_all_pages_are_images_of_the_class_of_their_file(pages: Folder):
    images, first = opened(replace(pages, pages="all")), opened(pages)
    assert np.array_equal(images.pixels[:, 0].numpy(), PAGES[:10])
    assert images.labels.tolist() == [0] * 4 + [1] * 6
    assert "  9 pages of 3 files" in str(images.description).splitlines()
    assert images.fingerprint.differences(first.fingerprint)
    assert not images.fingerprint.differences(opened(replace(pages, pages="all")).fingerprint)


@pytest.mark.parametrize("pages", ["folder"], indirect=True)
def test_pages_of_a_file_are_in_one_split_and_are_named_by_their_position(pages: Folder):
    (Path(pages.root) / "b/more.png").write_bytes(encoded("more.png", PAGES[[9, 1]]))
    folder = replace(pages, pages="all", held_out=0.5)
    train = opened(replace(folder, split="train"))
    assert np.array_equal(train.pixels[:, 0].numpy(), PAGES[[3, 9, 1]])
    assert np.array_equal(opened(replace(folder, split="test")).pixels[:, 0].numpy(), PAGES[[0, 1, 2, 4, 5, 6, 7]])
    assert train.description.splits == (("train", 3), ("held out", 7))
    assert train.description.duplicate_examples == ("b/more.png#1 and a/scan.tif#1",)


MIXED = [
    PAGES[0],
    np.stack([PAGES[1]] * 3, -1),
    PAGES[2].astype(np.uint16) * 257,
    PAGES[3].astype(np.float32) / 255,
    PAGES[4].astype(np.float64) / 255,
]
"""Pages of several types of numbers, of which Pillow does not know all."""


@pytest.mark.parametrize("first", [0, 4])
@pytest.mark.parametrize(("byteorder", "compression"), [("<", None), (">", None), (">", "zlib")])
def test_pages_of_several_types_are_read_each_by_its_own(
    first: int, byteorder: Literal["<", ">"], compression: str | None, monkeypatch: pytest.MonkeyPatch
):
    """Pillow would read compressed big-endian floats in the wrong byte order, whatever the page before them is."""
    file, opened = io.BytesIO(), list[object]()
    pages = [MIXED[first], *MIXED]
    with tifffile.TiffWriter(file, byteorder=byteorder) as tiff:
        for page in pages:
            tiff.write(page, photometric="rgb" if page.ndim == 3 else "minisblack", compression=compression)
    original = tifffile.TiffFile
    monkeypatch.setattr(tifffile, "TiffFile", lambda blob: opened.append(blob) or original(blob))
    image = decode(file.getvalue(), ImageSpec(8, 8, "L", pages="all"))
    for found, page in zip([image, *image.others], [PAGES[first], *PAGES[:5]], strict=True):
        assert np.array_equal(found.pixels[0].numpy(), page)
    assert len(opened) == 1  # to open it for each page took a time that grew with the square of their number
