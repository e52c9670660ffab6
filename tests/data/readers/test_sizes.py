"""An image of any shape is brought to the size of the data set: cropped, stretched or padded, and resized."""

import numpy as np
import pytest
import torch
from encoded_images import planes, read, saved, smooth_image
from PIL import Image

from limpid.data.images import resize
from limpid.data.readers.decode import decode
from limpid.data.readers.fit import ImageSpec


@pytest.mark.parametrize("size", [(16, 16), (8, 24), (24, 8)])
def test_the_largest_window_of_the_right_aspect_is_cut_from_the_middle_and_resized(size: tuple[int, int]):
    pixels = smooth_image(40, 60, 3)
    y, x = {
        (16, 16): (slice(40), slice(10, 50)),
        (8, 24): (slice(10, 30), slice(60)),
        (24, 8): (slice(40), slice(23, 36)),
    }[size]
    window = planes(np.ascontiguousarray(pixels[y, x]))
    assert torch.equal(read(saved(Image.fromarray(pixels)), size), resize(window[None], size)[0])


def test_an_image_may_be_stretched_or_padded_instead():
    pixels = smooth_image(20, 40, 3)
    blob, original = saved(Image.fromarray(pixels)), planes(pixels)[None]
    assert torch.equal(read(blob, (16, 16), fit="stretch"), resize(original, 16)[0])
    padded = read(blob, (16, 16), fit="pad")
    assert torch.equal(padded[:, 4:12], resize(original, (8, 16))[0])
    assert (torch.cat([padded[:, :4], padded[:, 12:]]) == 255).all()
    black = decode(blob, ImageSpec(16, 16, fit="pad", pad="black")).pixels
    assert torch.equal(black.minimum(padded), black)
    assert (torch.cat([black[:, :4], black[:, 12:]]) == 0).all()
    assert read(blob, (16, 16), "RGBA", "pad")[3, :, 0].tolist() == [0] * 4 + [255] * 8 + [0] * 4


def test_padding_enlarges_no_image_so_that_28_pixels_are_the_middle_of_32():
    digit = smooth_image(28, 28)
    found = decode(saved(Image.fromarray(digit)), ImageSpec(32, 32, "L", "pad", "black"))
    assert np.array_equal(found.pixels[0], np.pad(digit, 2))
    assert not found.enlarged


def test_resizing_mixes_colours_by_their_alpha():
    """Beside an invisible red, a blue fades out without turning red."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :8], pixels[:, 8:] = (0, 0, 255, 255), (255, 0, 0, 0)
    small = read(saved(Image.fromarray(pixels)), (5, 5), "RGBA")
    assert small[3, 2].tolist()[0] == 255
    assert 0 < small[3, 2, 2] < 255
    assert small[:3, 2, 2].tolist() == [0, 0, 255]
    assert (small[0] == 0).all()


def test_alpha_is_a_channel_of_rgba():
    pixels = np.dstack([smooth_image(8, 8, 3), np.full((8, 8), 255, np.uint8)])
    assert torch.equal(read(saved(Image.fromarray(pixels)), (8, 8), "RGBA"), planes(pixels))
    assert (read(saved(Image.fromarray(pixels[:, :, :3])), (8, 8), "RGBA") == planes(pixels)).all()


def test_a_strip_of_absurd_aspect_is_read():
    strip = smooth_image(2, 4_000, 3)
    middle = planes(np.ascontiguousarray(strip[:, 1_999:2_001]))
    assert torch.equal(read(saved(Image.fromarray(strip)), (8, 8)), resize(middle[None], 8)[0])
    assert read(saved(Image.fromarray(strip)), (8, 8), fit="pad").shape == (3, 8, 8)
    assert read(saved(Image.fromarray(strip[:1])), (8, 8)).shape == (3, 8, 8)


def test_an_image_smaller_than_its_target_is_marked_as_enlarged():
    small = saved(Image.fromarray(smooth_image(12, 12, 3)))
    assert [decode(small, ImageSpec(side, side)).enlarged for side in (8, 12, 13)] == [False, False, True]
