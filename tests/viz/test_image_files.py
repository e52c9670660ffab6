"""Files of image grids and of single images: written atomically, and read back to the bit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from plain_images import noise, plain

from limpid.storage.atomic import atomic_write
from limpid.viz.image_grid import (
    image_grid,
    save_images,
    save_png,
)


def test_images_of_five_channels_are_not_saved_as_png(tmp_path: Path):
    with pytest.raises(ValueError, match=r"a PNG holds 1, 3 or 4 channels, and the images have 5: save them as \.npz"):
        save_images(noise(1, 5, 8, 8), tmp_path, ["a"])


def test_a_saved_sheet_comes_back_with_its_notes(tmp_path: Path):
    sheet = image_grid(noise(4, 3, 8, 8))
    path = save_png(sheet, tmp_path / "new" / "folders" / "sheet.png", {"limpid": "σ = 80", "seed": "0"})
    with Image.open(path) as back:
        assert isinstance(back, PngImageFile)
        assert back.tobytes() == sheet.tobytes()
        assert back.text == {"limpid": "σ = 80", "seed": "0"}
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_a_file_is_written_atomically(tmp_path: Path):
    path = tmp_path / "file.txt"
    with atomic_write(path) as part:
        part.write_text("first")
        assert not path.exists()

    def interrupted() -> None:
        with atomic_write(path) as part:
            part.write_text("sec")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_sheet_is_not_saved_under_a_name_that_is_not_png(tmp_path: Path):
    with pytest.raises(ValueError, match=r"sheet\.jpg': expected a path that ends in \.png"):
        save_png(image_grid(plain(1)), tmp_path / "sheet.jpg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_single_images_are_read_back_to_the_bit_in_their_own_size(channels: int, tmp_path: Path):
    pixels = noise(3, channels, 9, 14)
    pixels[0, -1, 0] = 7  # alpha below 255 as well
    paths = save_images(pixels, tmp_path, ["cat/0", "cat/1", "dog/2"])
    assert paths == [tmp_path / "cat/0.png", tmp_path / "cat/1.png", tmp_path / "dog/2.png"]
    for expected, path in zip(pixels, paths, strict=True):
        with Image.open(path) as back:
            assert back.mode == ["L", "LA", "RGB", "RGBA"][channels - 1]
            there = np.asarray(back).reshape(9, 14, channels)
        np.testing.assert_array_equal(there, expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("names", "found"), [(["a"], 1), (["a", "a"], 1), (["a", "b", "c"], 3)])
def test_single_images_need_different_names(names: list[str], found: int, tmp_path: Path):
    with pytest.raises(ValueError, match=f"{found} different names for 2 images"):
        save_images(plain(2), tmp_path, names)
    assert list(tmp_path.iterdir()) == []
