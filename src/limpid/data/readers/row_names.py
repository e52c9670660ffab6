"""The splits that a set of several files or arrays names itself: train-00000-of-00002.parquet, `val_images`."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import overload

from limpid.data.readers.listing import OwnSplit

SPLIT_WORDS: dict[str, OwnSplit] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}
"""The words for a split in the names of files and arrays; t10k is MNIST's."""


def split_from_name(name: str) -> OwnSplit | None:
    """The split that a name below the root speaks of: the first such word in the file's name, or in its folders."""
    *folders, file = name.lower().split("/")
    words = chain(re.findall("t10k|[a-z]+", file), reversed(folders))
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


class NumberedNames(Sequence[str]):
    """Names of the rows of several tables or arrays, "train/0", "train/1", ..., made when they are read.

    Parts of one name are counted on: their rows are those of one table.
    """

    def __init__(self, parts: Iterable[tuple[str, int]]) -> None:
        self.parts = list(parts)
        self.ends = list(accumulate(count for _, count in self.parts))
        self.firsts: list[int] = []
        """The number of the first row of each part."""
        total: dict[str, int] = {}
        for name, count in self.parts:
            self.firsts.append(total.get(name, 0))
            total[name] = self.firsts[-1] + count

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        part = next(i for i, end in enumerate(self.ends) if index < end)
        name, count = self.parts[part]
        return f"{name}/{self.firsts[part] + index - (self.ends[part] - count)}"

    def __iter__(self) -> Iterator[str]:
        for (name, count), first in zip(self.parts, self.firsts, strict=True):
            yield from (f"{name}/{number}" for number in range(first, first + count))


def names_and_splits(
    parts: Sequence[tuple[OwnSplit | None, int]],
) -> tuple[Sequence[str] | range, Sequence[OwnSplit | None]]:
    """Names and splits of the rows of several files or arrays, each with its split and number of rows.

    Where all are of one split, or of none, the rows are numbered through and the set names no splits.
    """
    n = sum(count for _, count in parts)
    if len({split for split, _ in parts}) < 2:
        return range(n), ()
    splits: list[OwnSplit | None] = [split for split, count in parts for _ in range(count)]
    return NumberedNames((split or "other", count) for split, count in parts), splits
