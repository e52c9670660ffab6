"""The classes and images on a sheet of samples: at most ten classes, always the same ones."""

from collections import Counter
from collections.abc import Sequence
from textwrap import fill

from limpid.runtime.rng import random_subset

SHEET_CLASSES = 10
SHEET_IMAGES = 1000
"""Limits of the classes and images on a sheet."""


def sheet_classes(classes: int) -> list[int]:
    """The classes on a sheet: all, or if there are more than ten a random subset of ten, always the same."""
    return random_subset(SHEET_CLASSES, classes).tolist()


def sheet_images(labels: Sequence[int]) -> list[int]:
    """The indices of the images on a sheet, for images with these labels: the first ones of each of its classes."""
    classes = list(dict.fromkeys(labels))
    shown = {classes[i] for i in sheet_classes(len(classes))}
    of_class, images = Counter[int](), list[int]()
    for image, label in enumerate(labels):
        if label in shown and of_class[label] < SHEET_IMAGES // len(shown):
            of_class[label] += 1
            images.append(image)
    return images


def sheet_title(labels: Sequence[int], class_names: Sequence[str], images: int = 0) -> str:
    """A title that states which of the classes, and how many of `images` images, a sheet with these labels shows.

    Empty if it shows all of them.
    """
    shown, lines = list(dict.fromkeys(labels)), list[str]()
    if len(class_names) > SHEET_CLASSES:
        named = ", ".join(class_names[label] for label in shown)
        lines.append(fill(f"{len(shown)} of {len(class_names):,} classes: {named}", 72))
    if len(labels) < images:
        lines.append(f"{len(labels):,} of {images:,} images")
    return "\n".join(lines)
