"""The splits that a set names itself are used as they are; other sets are split by the names of their images."""

from pathlib import Path

import numpy as np
import pytest

from limpid.data.readers.listing import ImageListing, LeftOutCounter, OwnSplit
from limpid.data.splits import Split, split_mask


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


def test_what_was_left_out_is_counted_by_kind_and_its_first_three_names_are_given():
    left_out = LeftOutCounter()
    for name in ("d.mp4", "c.mp4", "a.mp4", "b.mp4"):
        left_out.add("videos", name)
    left_out.add("text files", "x\n.txt")
    assert [str(each) for each in left_out.records()] == [
        r"1 text file (x\n.txt)",
        "4 videos (a.mp4, b.mp4, c.mp4, ...)",
    ]
