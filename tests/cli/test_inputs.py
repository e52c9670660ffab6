"""Words of a command that name classes."""

import numpy as np
import pytest

from limpid.data.readers.labels import classes_of
from limpid.sampling.labels import label_from_word

ALPHABET = ("A", "B", "a", "b", "Cat")


@pytest.mark.parametrize(
    ("word", "names", "label"),
    [
        ("1", ("1", "2", "3"), 0),
        ("3", ("1", "2", "3"), 2),
        ("2", classes_of([f"{i}/a.png" for i in range(11)])[1], 2),
        ("10", classes_of([f"{i}/a.png" for i in range(11)])[1], 10),
        ("2", ("1", "2", "5"), 1),
        ("5", ("1", "2", "5"), 2),
        ("-1", ("-1", "0", "1"), 0),
        ("1", ("-1", "0", "1"), 2),
        ("1", ("01", "02", "03"), 0),
        ("007", ("6", "7", "8"), 1),
        ("1", ("01", "1", "001"), 1),
    ],
)
def test_a_class_that_is_a_number_is_named_by_it(word: str, names: tuple[str, ...], label: int):
    assert label_from_word(word, names) == label


@pytest.mark.parametrize(
    ("word", "label"), [("A", 0), ("a", 2), ("B", 1), ("b", 3), ("Cat", 4), ("cat", 4), ("CAT", 4), ("0", 0), ("4", 4)]
)
def test_the_exact_name_comes_before_another_case_and_an_index_last(word: str, label: int):
    assert label_from_word(word, ALPHABET) == label


@pytest.mark.parametrize(
    ("word", "names", "message"),
    [
        ("5", ALPHABET, "no class '5': choose from A, B, a, b, Cat"),
        ("-1", ALPHABET, "no class '-1'"),
        ("dog", ALPHABET, "no class 'dog'"),
        ("ab", ("AB", "Ab"), "class 'ab' may be AB or Ab: write it in upper and lower case as meant"),
        ("1", ("01", "001"), "no class '1': choose from 01, 001"),
        ("9" * 5000, ("1", "2"), "no class '999"),
    ],
)
def test_a_word_that_names_no_class_or_several_is_refused(word: str, names: tuple[str, ...], message: str):
    with pytest.raises(ValueError, match=message):
        label_from_word(word, names)


def test_every_class_of_numbers_is_found_by_its_name_in_whatever_folder_order():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.choice(300, 30, replace=False).tolist()
        _, names = classes_of([f"{value}/a.png" for value in values])
        assert names == tuple(map(str, sorted(values)))
        assert [names[label_from_word(str(value), names)] for value in values] == [str(value) for value in values]
