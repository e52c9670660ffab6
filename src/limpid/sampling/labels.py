"""Labels for samples: from class names, in equal blocks, or in the proportions of the training set."""

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import TypeAlias

import torch

from limpid.data.readers.labels import whole_numbers
from limpid.recipes.serialize import ABBREVIATE, match_choice
from limpid.viz.class_sheets import sheet_classes

SampleLabels: TypeAlias = Sequence[int | str] | int | str | None
"""Classes by name or index, in equal parts or one for each sample; "none" for no label, None for all classes."""
UNCONDITIONAL = "none"
"""The word for sampling without labels, from a model that was trained with label dropout."""
LONGEST_PERIOD = 2**22
"""Limit of the period after which the labels of an evaluation repeat."""


def check_labels(labels: Sequence[int], n: int, classes: int) -> None:
    """Raise ValueError unless there is one label for each of n samples, each of one of the model's classes."""
    if not classes:
        raise ValueError(f"labels {ABBREVIATE.repr(list(labels))} for a network without classes: expected None")
    if len(labels) != n:
        raise ValueError(f"{len(labels)} labels for {n} samples: expected one for each")
    if wrong := [label for label in labels if not 0 <= label < classes]:
        none = ", which stands for no label" if wrong[0] == classes else ""
        raise ValueError(f"label {wrong[0]}{none}: expected 0 to {classes - 1}, a class of the network")


def label_indices(
    labels: SampleLabels, n: int, class_names: Sequence[str], *, optional: bool = True
) -> list[int] | None:
    """The label of each of n samples: of the given classes in equal blocks, or one for each; None is no label.

    `labels` None is all classes, or ten of them where there are more than n. A model without classes has no labels;
    one that was trained without label dropout needs them, where `optional` is False. Raises ValueError for what is no
    class of `class_names`.
    """
    words = [labels] if isinstance(labels, int | str) else list(labels or [])
    if words == [UNCONDITIONAL] and UNCONDITIONAL not in class_names:
        if class_names and not optional:
            choices = ", ".join(class_names)
            raise ValueError(f"this model was trained with a label for every image: choose from {choices}")
        return None
    if not class_names:
        if words:
            raise ValueError(f"this model has no classes, so it takes no labels {' '.join(map(str, words))}")
        return None
    if len(words) > n:
        raise ValueError(f"{len(words)} labels for {n} samples: expected one for each, or fewer in equal parts")
    every = len(class_names)
    all_classes = sheet_classes(every) if n < every else list(range(every))
    classes = [label_from_word(word, class_names) if isinstance(word, str) else word for word in words] or all_classes
    indices = [int(classes[block]) for block in balanced_labels(n, len(classes)) or []]
    check_labels(indices, n, every)
    return indices


def label_from_word(word: str, class_names: Sequence[str]) -> int:
    """The label of the class with this name, in the same case or in another; else of the class with this index.

    A name that is an integer may be written with or without leading zeros. Raises ValueError for a word that names no
    class, or several.
    """
    if whole_numbers([word]) and word not in class_names:
        equal = [i for i, name in enumerate(class_names) if whole_numbers([name]) and int(name) == int(word)]
        if len(equal) == 1:
            return equal[0]
        if not equal and 0 <= int(word) < len(class_names):
            return int(word)
    return list(class_names).index(match_choice("class", word, class_names))


def balanced_labels(n: int, classes: int) -> list[int] | None:
    """Labels for n samples in equal blocks, one block per class; None where there are no classes."""
    return [i * classes // n for i in range(n)] if classes else None


def labels_by_share(seeds: Sequence[int], class_counts: Sequence[int]) -> list[int]:
    """A label for each seed, which depends on that seed alone: in any range of seeds the classes have these
    proportions.

    The j-th of the c images of a class is at position (j + 1/2) / c of a period that holds all images, so that the
    number of each class in a range is wrong by few images; equal counts give the classes in turn. Raises ValueError for
    negative counts, and if all are 0.
    """
    if min(class_counts, default=-1) < 0 or not any(class_counts):
        raise ValueError(f"class counts {ABBREVIATE.repr(list(class_counts))}: expected numbers of images, not all 0")
    counts = torch.tensor([count // math.gcd(*class_counts) for count in class_counts])
    if (total := counts.double().sum().item()) > LONGEST_PERIOD:
        counts = (counts.double() * (LONGEST_PERIOD / total)).ceil().long()
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    index_in_class = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels]
    order = ((index_in_class.double() + 0.5) / counts[labels]).argsort(stable=True)
    return labels[order[torch.tensor([seed % len(labels) for seed in seeds])]].tolist()


def check_class_names(expected: Sequence[str], found: Sequence[str], model: str) -> None:
    """Raise ValueError unless the classes found are those that the model was trained with, in their order."""
    if tuple(expected) == tuple(found):
        return
    same = sum(takewhile(bool, map(str.__eq__, expected, found)))
    old, new = (ABBREVIATE.repr(names[same]) if same < len(names) else "none" for names in (expected, found))
    was = f"{model} was trained with {len(expected)} classes, and the data has {len(found)}"
    raise ValueError(
        f"{was}: class {same} was {old} and is {new}; name the class folders as they were: a label stands for a class "
        "by their order"
    )
