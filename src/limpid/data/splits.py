"""Which images of a set are trained on: by the splits that it names itself, or else by a hash of each image's name."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool

from limpid.data.readers.labels import bytes_of
from limpid.data.readers.listing import OWN_SPLITS, ImageListing, OwnSplit
from limpid.runtime.terminal import printable

Split: TypeAlias = Literal["train", "val", "test", "all"]


class EmptySplit(ValueError):
    """No image of a set is of the split."""


def split_mask(listing: ImageListing, split: Split, held_out: float) -> Bool[np.ndarray, " n"]:
    """A mask of the images of a split. Raises EmptySplit if it has none.

    Where the set names splits, `held_out` is not used, and `test` is its val where it has no test. Where it names none,
    `train` and `test` are chosen by the names of the images, and there is no `val`.
    """
    if not 0 <= held_out <= 1:
        raise ValueError(f"held-out {held_out}: expected a fraction, 0 to 1")
    own, wanted = named_splits(listing), own_split(listing, split)
    if split == "all":
        mask = np.ones(len(listing.names), bool)
    elif own:
        mask = np.fromiter((each == wanted for each in listing.splits), bool, len(listing.names))
    elif split == "val":
        raise EmptySplit(f"{printable(str(listing.root))} names no split val: choose from train, test, all")
    else:
        names = (unit_hash(str(name)) < held_out for name in listing.names)
        mask = np.fromiter(names, bool, len(listing.names)) == (split == "test")
    if not mask.any():
        why = f"it names {', '.join(own)}" if own else f"with {held_out:g} of them held out"
        where = printable(str(listing.root))
        raise EmptySplit(f"none of {len(listing.names):,} images in {where} is of the split {split!r}: {why}")
    return mask


def named_splits(listing: ImageListing) -> Sequence[OwnSplit]:
    """The splits that a set names itself, in the order train, val, test; empty where it names none."""
    found = set(listing.splits)
    return [name for name in OWN_SPLITS if name in found]


def own_split(listing: ImageListing, split: Split) -> Split:
    """The split of a set that a run reads as `split`: of a set with val and without test, val is its test."""
    own = named_splits(listing)
    return "val" if split == "test" and "val" in own and "test" not in own else split


def split_sizes(listing: ImageListing, unread: set[str]) -> tuple[tuple[str, int], ...]:
    """The number of images of each split that the set names, without those of the names `unread`."""
    named = zip(listing.names, listing.splits, strict=True) if unread else ()
    missing = Counter(split for name, split in named if name in unread)
    return tuple((split, listing.splits.count(split) - missing[split]) for split in named_splits(listing))


def unit_hash(name: str) -> float:
    """A number in [0, 1), uniform over names, that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(bytes_of(name)).digest()[:6], "big") / 2**48
