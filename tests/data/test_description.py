"""An opened set of images describes how it was read, and warns of what may be wrong with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limpid.data import Digits, Folder
from limpid.data.description import DataDescription
from limpid.data.images import ImageDataset
from limpid.data.left_out import LeftOut
from limpid.data.statistics import equal_images, image_hashes, pixel_chunks, pixel_statistics
from limpid.recipes.recipe import Recipe
from limpid.viz.show import data as show_data

NOISE = np.random.default_rng(0)


def noise(low: int = 0, high: int = 256) -> Image.Image:
    return Image.fromarray(NOISE.integers(low, high, (8, 8, 3), dtype=np.uint8))


def save(root: Path, images: dict[str, Image.Image]) -> Folder:
    for name, image in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name)
    return Folder(str(root), 8)


def test_statistics_are_those_of_all_pixels_without_alpha():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(3, 200, (700, 4, 20, 24), dtype=torch.uint8, generator=generator)
    for images in (pixels, pixels[:, :3], pixels[:, :1], pixels.contiguous(memory_format=torch.channels_last)):
        colours = images[:, :3] if images.shape[1] >= 3 else images
        x = colours.double() / 127.5 - 1
        about = pixel_statistics(pixel_chunks(images))
        assert (about.low, about.high, about.grey) == (3, 199, False)
        torch.testing.assert_close([about.mean, about.std], [x.mean().item(), x.std(unbiased=False).item()])
    assert pixel_statistics(pixel_chunks(pixels[:, :1].expand(-1, 3, -1, -1))).grey


def test_equal_images_are_found_by_their_hashes():
    pixels = torch.arange(5 * 3 * 4 * 4).view(5, 3, 4, 4).to(torch.uint8)
    first, second = (image_hashes(pixel_chunks(pixels[order])) for order in ([0, 1, 2], [3, 2, 4, 0]))
    assert equal_images(first, second) == [(2, 1), (0, 3)]
    assert equal_images(first, first[:0]) == []


def test_an_opened_set_describes_how_it_was_read(tmp_path: Path):
    images = {f"train/{name}/{i}.png": noise() for name, n in (("cat", 6), ("dog", 2)) for i in range(n)}
    images |= {"val/cat/0.png": noise(), "val/dog/same.png": images["train/dog/1.png"], "preview.png": noise()}
    folder = save(tmp_path / "set", images)
    (tmp_path / "set" / "readme.txt").touch()
    first, again = folder.open("cpu"), folder.open("cpu")
    assert repr(first) == repr(again) == str(first.description)
    assert str(replace(folder, workers=1).open("cpu")) == repr(first)
    lines = repr(first).splitlines()
    assert lines[0].startswith(f"{tmp_path}/set: 8 images of 8x8, RGB, values 0..255; in [-1, 1] mean ")
    assert lines[1:] == [
        "  splits: train 8, val 2",
        "  2 classes, the largest 3.0 times the smallest: cat 6, dog 2",
        "  left out: 1 .txt file (readme.txt)",
        "  left out: 1 image outside of train and val (preview.png)",
        "  warning: 1 held-out image is equal to a training image (train/dog/1.png and val/dog/same.png)",
    ]


def test_unreadable_files_are_counted_by_their_reason(tmp_path: Path):
    folder = save(tmp_path / "set", {f"{i}.png": noise() for i in range(9)})
    for name in ("a.png", "b.png"):
        (tmp_path / "set" / name).touch()
    left_out = replace(folder, on_error="skip", split="all").open("cpu").description.left_out
    assert left_out == (LeftOut("files that cannot be read: it is empty", 2, ("a.png", "b.png")),)


def test_images_that_could_not_be_read_are_counted_in_no_split(tmp_path: Path):
    names = ("train/a", "train/b", "val/c", "test/d", "test/e")
    folder = save(tmp_path / "set", {f"{name}.png": noise() for name in names})
    for name in ("train/b", "test/e"):
        (tmp_path / "set" / f"{name}.png").write_bytes(b"no image")
    for split in ("train", "all"):
        splits = replace(folder, on_error="skip", split=split).open("cpu").description.splits
        assert splits == (("train", 1), ("val", 1), ("test", 1))


def test_a_broken_held_out_image_is_found_when_the_training_images_are_opened(tmp_path: Path):
    folder = save(tmp_path / "set", {"train/a.png": noise(), "test/b.png": noise()})
    assert len(folder.open("cpu")) == 1
    (tmp_path / "set" / "test" / "broken.png").touch()
    with pytest.raises(ValueError, match=r"test/broken\.png: it is empty"):
        folder.open("cpu")


def test_images_in_memory_are_described_too():
    digits = Digits().load()
    assert repr(digits).startswith("images: 1,797 images of 16x16, grey, values 0..255")
    assert "10 classes, the largest 1.1 times the smallest: 0 178, 1 182" in repr(digits)
    streamed = str(ImageDataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [0, 0]).description)
    assert streamed.splitlines()[1] == "  no classes"


def test_held_out_images_that_are_equal_to_a_training_image_are_found_in_sets_in_memory_too():
    digits = Digits().load()
    held_out = ImageDataset(digits.pixels[[5, 9]], [0, 0])
    copied, other = (
        ImageDataset(digits.pixels[:n], digits.labels[:n], digits.class_names, held_out=lambda: held_out)
        for n in (8, 4)
    )
    assert (copied.description.splits, copied.description.duplicates) == ((("train", 8), ("test", 2)), 1)
    warning = "1 held-out image is equal to a training image (train/5 and test/0)"
    assert warning in list(copied.to("cpu").description.warnings())
    assert not other.description.duplicates
    assert replace(copied, held_out=None).description.statistics == copied.description.statistics
    assert not copied.subset(6).description.splits


def described(**changes: object) -> DataDescription:
    statistics = pixel_statistics([NOISE.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)])
    return replace(DataDescription("x", 20_000, (3, 8, 8), statistics=statistics), **changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("pixels", "warning"),
    [
        (noise(0, 20), "the images are nearly black: mean 3."),
        (noise(246, 256), "the images are nearly white: mean 98."),
        (noise(100, 156), "their standard deviation is 0.1"),
        (noise().convert("L").convert("RGB"), "all images are grey: --data.channels L"),
    ],
)
def test_odd_pixels_are_warned_of(pixels: Image.Image, warning: str):
    about = described(statistics=pixel_statistics([np.asarray(pixels)[None]]))
    assert any(line.startswith(warning) for line in about.warnings())


def test_a_good_set_has_no_warning_and_one_of_few_images_or_empty_classes_has_one():
    assert list(described().warnings(expected=10_000)) == []
    assert list(described(count=9_999).warnings(expected=10_000)) == [
        "9,999 images are fewer than the 10,000 that the recipes are made for"
    ]
    (few,) = described(count=10).warnings(expected=10_000)
    assert few.endswith("expect copies of them")
    (empty,) = described(class_names=("a", "b"), class_counts=(20_000, 0)).warnings()
    assert empty == "1 class has no image in this split: b"


def test_of_many_classes_the_largest_and_the_smallest_are_named():
    names = tuple(f"c{i}" for i in range(100))
    about = described(class_names=names, class_counts=tuple(range(1, 101)))
    assert (
        about.class_line()
        == "100 classes, the largest 100.0 times the smallest: c99 100, c98 99, c97 98, ..., c2 3, c1 2, c0 1"
    )


def test_the_figure_of_a_set_has_a_row_for_each_class(tmp_path: Path):
    folder = save(tmp_path / "set", {f"{c}/{i}.png": noise() for c in ("cat", "dog", "eel") for i in range(3)})
    folder = replace(folder, held_out=0.0)
    for source in (folder, replace(folder, workers=1)):
        path = show_data(Recipe(data=source), tmp_path / "data.png")
        with Image.open(path) as sheet:
            assert sheet.width > 3 * sheet.height
