"""Which images of a set are trained on: by the splits that it names itself, or else by a hash of each image's name."""

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool

from limpid.data.readers.labels import bytes_of
from limpid.data.readers.listing import OWN_SPLITS, ImageListing, OwnSplit
from limpid.runtime.terminal import printable

Split: TypeAlias = Literal["train", "test", "all"]


class EmptySplit(ValueError):
    """No image of a set is of the split."""


def split_mask(listing: ImageListing, split: Split, held_out: float) -> Bool[np.ndarray, " n"]:
    """A mask of the images of a split. Raises EmptySplit if it has none.

    Where the set names splits, `train` is its train, `test` its test, or its val where it has no test, and `held_out`
    is not used.
    """
    if not 0 <= held_out <= 1:
        raise ValueError(f"held-out {held_out}: expected a share, 0 to 1")
    own = named_splits(listing)
    wanted = "val" if split == "test" and "test" not in own else split
    if split == "all":
        mask = np.ones(len(listing.names), bool)
    elif own:
        mask = np.fromiter((each == wanted for each in listing.splits), bool, len(listing.names))
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


def unit_hash(name: str) -> float:
    """A number in [0, 1), uniform over names, that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(bytes_of(name)).digest()[:6], "big") / 2**48
