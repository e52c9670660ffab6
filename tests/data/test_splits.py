"""The splits that a set names itself are used as they are; other sets are split by the names of their images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_sets import LABELS, PIXELS, parquet, png
from tiny_recipes import TINY

from limpid.cli.main import main
from limpid.data import Folder
from limpid.data.images import ImageDataset
from limpid.data.readers.listing import ImageListing, LeftOutCounter, OwnSplit
from limpid.data.splits import EmptySplit, Split, own_split, split_mask
from limpid.runtime.device import Runtime
from limpid.training.api import train_steps


def listing(*splits: OwnSplit | None) -> ImageListing:
    labels = np.zeros(len(splits), np.int64)
    return ImageListing(Path("p"), range(len(splits)), labels, (), "", lambda _: iter(()), splits=splits)


@pytest.mark.parametrize(
    ("splits", "split", "expected"),
    [
        (("train", "val", "test", None), "train", [0]),
        (("train", "val", "test", None), "test", [2]),
        (("train", "val", "train", None), "test", [1]),
        (("train", "val", "test", None), "all", [0, 1, 2, 3]),
    ],
)
def test_the_splits_of_a_set_are_its_own(splits: tuple[OwnSplit | None, ...], split: Split, expected: list[int]):
    for held_out in (0.0, 1.0):
        assert np.flatnonzero(split_mask(listing(*splits), split, held_out)).tolist() == expected


def test_a_split_that_the_set_does_not_have_is_refused_with_those_that_it_has():
    with pytest.raises(ValueError, match="none of 2 images in p is of the split 'train': it names val, test"):
        split_mask(listing("val", "test"), "train", 0.1)


SPLITS = {"test": range(2), "train": range(2, 10), "validation": range(10, 12)}


def save_folders(root: Path) -> None:
    for split, rows in SPLITS.items():
        for i in rows:
            (root / split / str(LABELS[i])).mkdir(parents=True, exist_ok=True)
            (root / split / str(LABELS[i]) / f"{i:02d}.png").write_bytes(png(i))


def save_parquet(root: Path) -> None:
    (root / "data").mkdir(parents=True)
    for split, rows in SPLITS.items():
        (root / "data" / f"{split}-00000-of-00001.parquet").write_bytes(parquet(rows=rows))


@pytest.mark.parametrize("save", [save_folders, save_parquet])
@pytest.mark.parametrize(
    ("split", "rows"),
    [("train", SPLITS["train"]), ("val", SPLITS["validation"]), ("test", SPLITS["test"]), ("all", range(12))],
)
def test_each_split_of_a_set_is_read_and_trained_on_by_its_name(
    save: Callable[[Path], None], split: Split, rows: range, tmp_path: Path, capsys
):
    root = tmp_path / "set"
    save(root)
    folder = Folder(str(root), 8, split=split)
    images = folder.open("cpu")
    assert isinstance(images, ImageDataset)
    assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), PIXELS[rows])
    options = ["--data.root", str(root), "--data.split", split, "--out", str(tmp_path / "data.png")]
    assert main(["show", "data", "small", *options]) == 0
    shown = capsys.readouterr().err
    assert f"{root}: {len(rows)} images of 32x32" in shown
    assert "\n  splits: train 8, val 2, test 2\n" in shown
    note = {"train": "", "all": "\n  all splits are read\n"}.get(split, f"\n  the split {split} is read\n")
    assert note in shown
    first = next(iter(train_steps(replace(TINY, batch_size=4), folder, runtime=Runtime("cpu"))))
    assert first.loss.isfinite().all()


def test_val_is_the_test_split_of_a_set_without_one_and_no_split_of_a_set_that_names_none():
    assert (own_split(listing("train", "val"), "test"), own_split(listing("train", "val", "test"), "test")) == (
        "val",
        "test",
    )
    with pytest.raises(EmptySplit, match="p names no split val: choose from train, test, all"):
        split_mask(listing(), "val", 0.1)


def test_what_was_left_out_is_counted_by_kind_and_its_first_three_names_are_given():
    left_out = LeftOutCounter()
    for name in ("d.mp4", "c.mp4", "a.mp4", "b.mp4"):
        left_out.add("videos", name)
    left_out.add("text files", "x\n.txt")
    left_out.add("tables", "a" * 300 + "z")
    assert [str(each) for each in left_out.records()] == [
        f"1 table ({'a' * 100}...{'a' * 99}z)",
        r"1 text file (x\n.txt)",
        "4 videos (a.mp4, b.mp4, c.mp4, ...)",
    ]
