import torch
from torch.testing import assert_close

from limpid.data import Digits


def test_there_are_1797_digits_with_their_names():
    digits = Digits().load()
    assert (len(digits), digits.shape, digits.class_names) == (1797, (1, 16, 16), tuple("0123456789"))
    assert (digits.pixels.dtype, digits.labels.dtype) == (torch.uint8, torch.int64)


def test_digits_come_in_the_published_order():
    """Counts and first labels as in the file optdigits.tes and its description."""
    labels = Digits().load().labels
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert labels[-6:].tolist() == [4, 9, 0, 8, 9, 8]


def test_the_first_digit_is_the_published_one():
    zero = [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]
    pixels = Digits(size=8).load().pixels[0, 0]
    assert_close(pixels.float() * 16 / 255, torch.tensor(zero).float(), rtol=0, atol=0.04)


def test_greys_are_the_seventeen_published_ones_spread_over_a_byte():
    greys = Digits(size=8).load().pixels.unique()
    assert greys.tolist() == [round(grey * 255 / 16) for grey in range(17)]


def test_the_nearest_other_digit_is_of_the_same_class():
    """A digit's nearest other digit is of its own class for almost all, so images and labels belong together."""
    digits = Digits(size=8).load()
    distances = torch.cdist(digits.pixels.flatten(1).float(), digits.pixels.flatten(1).float())
    nearest = distances.fill_diagonal_(torch.inf).argmin(1)
    assert (digits.labels[nearest] == digits.labels).float().mean() > 0.98


def test_digits_open_on_a_device():
    assert Digits().open("meta").pixels.device.type == "meta"
