from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from limpid.data import Digits
from limpid.data.augment import Augment
from limpid.data.images import ImageDataset, channels_last, gather, normalize, resize, shuffled_indices, to_uint8


def numbered(n: int) -> ImageDataset:
    """Images of 2x2 that are all of one value: their own number."""
    numbers = torch.arange(n)
    return ImageDataset(
        numbers.to(torch.uint8)[:, None, None, None].expand(n, 3, 2, 2).contiguous(), numbers % 3, ("a", "b", "c")
    )


def random_pixels(*shape: int) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_pillow(pixels: Tensor, h: int, w: int) -> Tensor:
    images = [Image.fromarray(p.permute(1, 2, 0).numpy()).resize((w, h), Image.Resampling.BILINEAR) for p in pixels]
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


def test_a_batch_is_a_function_of_its_address():
    pixels, labels = numbered(50).batch(140, 20, seed=3)
    for seen in (0, 50, 7, 1_000):
        numbered(50).batch(seen, 20, seed=4)
    again, labels_again = numbered(50).batch(140, 20, seed=3)
    assert torch.equal(pixels, again)
    assert torch.equal(labels, labels_again)


def test_images_keep_their_labels():
    pixels, labels = numbered(50).batch(30, 45, seed=0)
    assert torch.equal(pixels[:, 0, 0, 0] % 3, labels)


def test_every_epoch_shows_every_image_once():
    shown = shuffled_indices(0, 4 * 9, 9, seed=0).view(4, 9)
    assert torch.equal(shown.sort().values, torch.arange(9).expand(4, 9))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [shuffled_indices(seen, 100, 100, seed) for seen in (0, 100) for seed in (0, 1)]
    assert len({tuple(o.tolist()) for o in orders}) == 4


@given(st.integers(1, 12), st.integers(0, 40), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(0, 3))
def test_the_row_of_images_does_not_depend_on_how_it_is_cut_into_batches(
    n: int, seen: int, sizes: list[int], seed: int
):
    starts = [seen + sum(sizes[:i]) for i in range(len(sizes))]
    pieces = [shuffled_indices(start, size, n, seed) for start, size in zip(starts, sizes, strict=True)]
    assert torch.equal(torch.cat(pieces), shuffled_indices(0, seen + sum(sizes), n, seed)[seen:])


def test_batches_begin_at_any_image():
    images = numbered(10)
    for i, (pixels, labels) in enumerate(islice(images.batches(7, 4, seed=1), 5)):
        there = images.batch(7 + 4 * i, 4, seed=1)
        assert torch.equal(pixels, there[0])
        assert torch.equal(labels, there[1])


def test_a_caller_cannot_change_the_order():
    shuffled_indices(0, 10, 10, seed=0).zero_()
    assert shuffled_indices(0, 10, 10, seed=0).sum() == 45


def test_a_set_describes_what_it_holds():
    images = numbered(5)
    assert (len(images), images.shape, images.classes) == (5, (3, 2, 2), 3)
    assert ImageDataset(images.pixels, images.labels).classes == 0
    assert images.to("meta").pixels.device.type == images.to("meta").labels.device.type == "meta"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gathered_images_keep_their_memory_layout(channels: int, layout: torch.memory_format):
    pixels = torch.randint(0, 256, (9, channels, 4, 6), dtype=torch.uint8).contiguous(memory_format=layout)
    chosen = torch.tensor([7, 0, 7, 3])
    assert torch.equal(gather(pixels, chosen), pixels[chosen])
    assert gather(pixels, chosen).is_contiguous(memory_format=layout)


def test_a_batch_reaches_the_network_in_its_layout():
    images = Digits(size=8).load()
    pixels = channels_last(images.pixels.expand(-1, 3, -1, -1))
    batch, _ = replace(images, pixels=pixels).batch(0, 16, seed=0)
    shown = normalize(Augment(flip=0.5)(batch, torch.Generator().manual_seed(0)))
    assert shown.is_contiguous(memory_format=torch.channels_last)
    assert not shown.is_contiguous()


def test_a_batch_has_an_image_and_a_set_has_a_label_for_each():
    with pytest.raises(ValueError, match="a batch of 0 images"):
        numbered(5).batch(0, 0, seed=0)
    with pytest.raises((ValueError, TypeError)):  # TypeError where shapes are checked at every call
        ImageDataset(random_pixels(2, 3, 4, 4), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="0 images and 0 labels"):
        ImageDataset(random_pixels(0, 3, 4, 4), torch.zeros(0, dtype=torch.int64))


def test_every_pixel_comes_back_from_its_number():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(normalize(pixels)), pixels)
    assert normalize(pixels).dtype == torch.float32
    assert_close(normalize(pixels), torch.linspace(-1, 1, 256), rtol=0, atol=torch.finfo(torch.float32).eps)
    assert -1 == normalize(pixels).min() < normalize(pixels).max() <= 1


def test_a_number_becomes_the_nearest_pixel_and_what_lies_outside_is_cut():
    x = normalize(torch.arange(256, dtype=torch.uint8))[:, None] + torch.tensor([-0.49, 0.0, 0.49]) / 127.5
    assert torch.equal(to_uint8(x), torch.arange(256, dtype=torch.uint8)[:, None].expand(256, 3))
    assert to_uint8(torch.tensor([-9.0, -1.01, 1.01, torch.inf])).tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize(("h", "w"), [(64, 64), (16, 16), (8, 8), (64, 16), (48, 64), (32, 32)])
def test_resizing_at_simple_ratios_is_pillows_to_the_bit(h: int, w: int):
    pixels = random_pixels(20, 3, 32, 32)
    assert torch.equal(resize(pixels, (h, w)), by_pillow(pixels, h, w))


@pytest.mark.parametrize(("h", "w"), [(20, 44), (33, 31), (7, 100), (28, 28)])
def test_resizing_at_any_ratio_is_within_two_of_pillows(h: int, w: int):
    """Both round after each axis; they may take the axes in another order, and hold weights of another precision."""
    pixels = random_pixels(50, 3, 32, 32)
    off = (resize(pixels, (h, w)).int() - by_pillow(pixels, h, w).int()).abs()
    assert off.max() <= 2
    assert off.float().mean() < 0.25


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [16, 20, 64])
def test_an_image_resized_alone_is_the_image_resized_among_others(channels: int, size: int):
    pixels = random_pixels(30, channels, 32, 32)
    assert torch.equal(torch.cat([resize(p[None], size) for p in pixels]), resize(pixels, size))


def test_resizing_reads_a_square_from_its_side_and_refuses_what_is_no_image():
    pixels = random_pixels(2, 3, 8, 12)
    assert torch.equal(resize(pixels, 16), resize(pixels, (16, 16)))
    with pytest.raises(ValueError, match="images of 0x0: expected at least 2x2"):
        resize(pixels, 0)
