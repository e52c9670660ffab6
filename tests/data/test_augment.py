import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limpid.data.augment import Augment, shift
from limpid.runtime.rng import generator


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(256, (400, 3, 6, 7), dtype=torch.uint8, generator=generator("cpu", "images"))


def crops(pixels: Tensor, most: int) -> dict[tuple[int, int], Tensor]:
    """All the images by how far (down, right) they are moved, made the other way: padded, then cut."""
    _, _, h, w = pixels.shape
    padded = F.pad(pixels.float(), (most,) * 4, mode="reflect").to(torch.uint8)
    moves = range(-most, most + 1)
    return {(y, x): padded[:, :, most - y : most - y + h, most - x : most - x + w] for y in moves for x in moves}


def test_no_augmentation_changes_no_pixel(pixels: Tensor):
    assert Augment(flip=0.0)(pixels, generator("cpu", 0)) is pixels


def test_a_flip_of_probability_one_mirrors_every_image(pixels: Tensor):
    assert torch.equal(Augment(flip=1.0)(pixels, generator("cpu", 0)), pixels.flip(3))


@pytest.mark.parametrize("flip", [0.2, 0.5])
def test_each_image_is_flipped_by_its_own_random_number(pixels: Tensor, flip: float):
    changed = Augment(flip)(pixels, generator("cpu", 0))
    mirrored = (changed == pixels.flip(3)).flatten(1).all(1)
    assert ((changed == pixels).flatten(1).all(1) ^ mirrored).all()
    deviation = (flip * (1 - flip) / len(pixels)) ** 0.5
    assert abs(mirrored.float().mean().item() - flip) < 4 * deviation


@pytest.mark.parametrize("move", [(0, 0), (2, 0), (-1, 2), (1, -2), (-2, -2)])
def test_a_shift_is_a_crop_of_the_image_with_reflected_edges(pixels: Tensor, move: tuple[int, int]):
    down, right = (torch.full((len(pixels),), by) for by in move)
    assert torch.equal(shift(pixels, down, right), crops(pixels, 2)[move])


def test_shifts_reach_every_place_up_to_the_farthest(pixels: Tensor):
    changed = Augment(flip=0.0, shift=1)(pixels, generator("cpu", 0))
    moved = {move: (changed == crop).flatten(1).all(1) for move, crop in crops(pixels, 1).items()}
    assert torch.equal(torch.stack(list(moved.values())).sum(0), torch.ones(len(pixels), dtype=torch.int64))
    assert all(which.any() for which in moved.values())


def test_an_image_may_move_by_all_but_its_side(pixels: Tensor):
    assert Augment(shift=5)(pixels, generator("cpu", 0)).shape == pixels.shape
    with pytest.raises(ValueError, match="shift 6 of images of 6x7"):
        Augment(shift=6)(pixels, generator("cpu", 0))


def test_augmentation_is_a_function_of_the_generators_address(pixels: Tensor):
    augment = Augment(flip=0.5, shift=2)
    once, again, other = (augment(pixels, generator("cpu", "augment", seen)) for seen in (128, 128, 256))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_the_images_given_are_not_changed(pixels: Tensor):
    before = pixels.clone()
    Augment(flip=0.5, shift=2)(pixels, generator("cpu", 0))
    assert torch.equal(pixels, before)


@pytest.mark.parametrize(("flip", "shift"), [(-0.1, 0), (1.5, 0), (float("nan"), 0), (0.5, -1)])
def test_numbers_without_a_meaning_are_refused(flip: float, shift: int):
    with pytest.raises(ValueError, match="expected a"):
        Augment(flip, shift)
