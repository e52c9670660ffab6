"""What identifies images wherever they are: how many, their names and their sizes, which a copy or a move leaves.

It is cheap to take, since no image is decoded for it; one that was changed and kept its size in bytes is not noticed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True)
class Fingerprint:
    """What identifies a set of images."""

    images: int = 0
    """How many there are; 0 where that is not known."""
    names: str = ""
    """A hash of what they are called, in their order; empty where they have no names."""
    content: str = ""
    """A hash of their sizes in bytes; of what is in them where they are one array."""

    def differences(self, other: "Fingerprint") -> list[str]:
        """How `other` differs, in words; empty where it does not, or where either is not known."""
        if not (self.images and other.images):
            return []
        found = [f"{other.images:,} images for {self.images:,}"] if self.images != other.images else []
        found += ["other names"] if self.names != other.names else []
        return found + (["other content or sizes"] if self.content != other.content else [])


UNKNOWN = Fingerprint()


def fingerprint_of_files(files: Iterable[tuple[bytes, int]]) -> Fingerprint:
    """The fingerprint of images in files: a name below the folder that holds them, and a size in bytes, for each."""
    names, sizes, images = sha256(), sha256(), 0
    for name, size in files:
        names.update(b"%d\0%s" % (len(name), name))
        sizes.update(b"%d\0" % size)
        images += 1
    return Fingerprint(images, names.hexdigest()[:32], sizes.hexdigest()[:32])


def fingerprint_of_arrays(images: int, *contents: bytes | memoryview) -> Fingerprint:
    """The fingerprint of images that are arrays: of all their bytes, or of a checksum of them."""
    digest = sha256()
    for content in contents:
        digest.update(content)
    return Fingerprint(images, content=digest.hexdigest()[:32])
