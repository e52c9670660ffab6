"""Which images and classes a sheet of samples shows where there are many: at most ten classes, the same each time."""

from collections import Counter
from collections.abc import Sequence
from textwrap import fill

from limpid.runtime.rng import random_subset

SHEET_CLASSES = 10
SHEET_IMAGES = 1000
"""The most classes, and the most images, on a sheet."""


def sheet_classes(classes: int) -> list[int]:
    """Which of this many classes a sheet shows: all of them, or a random ten, the same each time."""
    return random_subset(SHEET_CLASSES, classes).tolist()


def sheet_images(labels: Sequence[int]) -> list[int]:
    """The indices of the images, of those with these labels, that a sheet shows: the first of each of its classes."""
    classes = list(dict.fromkeys(labels))
    shown = {classes[i] for i in sheet_classes(len(classes))}
    of_class, images = Counter[int](), list[int]()
    for image, label in enumerate(labels):
        if label in shown and of_class[label] < SHEET_IMAGES // len(shown):
            of_class[label] += 1
            images.append(image)
    return images


def sheet_title(labels: Sequence[int], class_names: Sequence[str], images: int = 0) -> str:
    """A title that names what a sheet with these labels leaves out: other classes, or others of `images` images.

    Empty if it leaves out nothing.
    """
    shown, lines = list(dict.fromkeys(labels)), list[str]()
    if len(class_names) > SHEET_CLASSES:
        named = ", ".join(class_names[label] for label in shown)
        lines.append(fill(f"{len(shown)} of {len(class_names):,} classes: {named}", 72))
    if len(labels) < images:
        lines.append(f"{len(labels):,} of {images:,} images")
    return "\n".join(lines)
