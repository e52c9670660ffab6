import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from limpid.metrics.extractors.resize import (
    INCEPTION_SIZE,
    antialiased_bicubic,
    antialiased_bilinear,
    bilinear,
    tensorflow_bilinear,
)

RULES = [tensorflow_bilinear, bilinear, antialiased_bilinear, antialiased_bicubic]
GROWING = [(32, 32), (28, 40), (1, 1), (298, 64)]
SHRINKING = [(400, 512)]


def random_image(height: int, width: int) -> Tensor:
    pixels = torch.randint(256, (2, 3, height, width), generator=torch.Generator().manual_seed(height))
    return pixels.float()


def by_pillow(x: Tensor, how: Image.Resampling) -> Tensor:
    """Every channel resized alone, in floats."""
    channels = [
        Image.fromarray(channel.numpy()).resize((INCEPTION_SIZE, INCEPTION_SIZE), how) for channel in x.flatten(0, 1)
    ]
    return torch.from_numpy(np.stack([np.asarray(channel) for channel in channels])).view(
        *x.shape[:2], INCEPTION_SIZE, INCEPTION_SIZE
    )


def pixel_by_pixel(image: np.ndarray) -> np.ndarray:
    """TensorFlow 1's formula for one channel, written out."""
    height, width = image.shape
    result = np.empty((INCEPTION_SIZE, INCEPTION_SIZE))
    for i in range(INCEPTION_SIZE):
        for j in range(INCEPTION_SIZE):
            y, x = i * height / INCEPTION_SIZE, j * width / INCEPTION_SIZE
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            above = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
            below = image[bottom, left] * (1 - (x - left)) + image[bottom, right] * (x - left)
            result[i, j] = above * (1 - (y - top)) + below * (y - top)
    return result


@pytest.mark.parametrize("size", GROWING + SHRINKING)
def test_tensorflows_rule_is_its_formula_pixel_by_pixel(size: tuple[int, int]):
    x = random_image(*size)
    expected = torch.from_numpy(pixel_by_pixel(x[1, 2].double().numpy())).float()
    # The position s is in float32, as in TensorFlow: an error of 400 * 1e-7, between pixels that differ by 255.
    assert_close(tensorflow_bilinear(x)[1, 2], expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("size", GROWING + SHRINKING)
def test_tensorflows_rule_is_the_grid_that_nvidias_detector_samples(size: tuple[int, int]):
    height, width = size
    x = random_image(height, width)
    shift = torch.tensor([[1, 0, 1 / width - 1 / INCEPTION_SIZE], [0, 1, 1 / height - 1 / INCEPTION_SIZE]]).expand(
        2, 2, 3
    )
    grid = F.affine_grid(shift, [2, 3, INCEPTION_SIZE, INCEPTION_SIZE], align_corners=False)
    sampled = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    assert_close(tensorflow_bilinear(x), sampled, rtol=0, atol=0.03)


@pytest.mark.parametrize("size", GROWING)
def test_torchs_rule_is_pillows_for_images_that_are_enlarged(size: tuple[int, int]):
    x = random_image(*size)
    assert_close(bilinear(x), by_pillow(x, Image.Resampling.BILINEAR), rtol=0, atol=0.01)
    assert_close(bilinear(x), antialiased_bilinear(x), rtol=0, atol=0.01)


@pytest.mark.parametrize("size", SHRINKING)
def test_torchs_rule_is_not_pillows_for_images_that_are_reduced(size: tuple[int, int]):
    x = random_image(*size)
    assert (bilinear(x) - by_pillow(x, Image.Resampling.BILINEAR)).square().mean().sqrt() > 10


@pytest.mark.parametrize("size", GROWING + SHRINKING)
def test_the_antialiased_rules_are_pillows(size: tuple[int, int]):
    x = random_image(*size)
    assert_close(antialiased_bilinear(x), by_pillow(x, Image.Resampling.BILINEAR), rtol=0, atol=0.01)
    assert_close(antialiased_bicubic(x), by_pillow(x, Image.Resampling.BICUBIC), rtol=0, atol=1e-4)


def test_the_bicubic_rule_clips_nothing():
    result = antialiased_bicubic(random_image(32, 32))
    assert result.min() < -10
    assert result.max() > 265


@pytest.mark.parametrize("rule", RULES)
def test_an_image_of_the_right_size_stays_as_it_is(rule):
    x = random_image(INCEPTION_SIZE, INCEPTION_SIZE)
    assert torch.equal(rule(x), x)


@pytest.mark.parametrize("rule", RULES)
def test_one_colour_stays_one_colour(rule):
    x = torch.tensor([7.0, 128.0, 255.0]).view(1, 3, 1, 1).expand(1, 3, 17, 40)
    assert_close(rule(x), x[..., :1, :1].expand(1, 3, INCEPTION_SIZE, INCEPTION_SIZE))
