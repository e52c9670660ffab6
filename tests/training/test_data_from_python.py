"""Training from Python on arrays, tensors and Datasets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from own_data import PIXELS, UNCONDITIONAL, train_in_two_parts
from run_results import same_weights
from tiny_recipes import CPU
from torch.utils.data import Dataset

from limpid.data import Digits, Folder, InMemory, images_from_python
from limpid.data.images import ImageDataset
from limpid.sampling.pipeline import load
from limpid.training.api import train, train_steps

pytestmark = pytest.mark.usefixtures("no_final_figures")


class Squares(Dataset):
    """A torch Dataset of one's own, of images as uint8 tensors, with labels or without."""

    def __init__(self, labelled: bool):
        self.labelled = labelled

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> object:
        image = torch.full((1, 8, 8), 10 * index, dtype=torch.uint8)
        return (image, index % 3) if self.labelled else image


@pytest.mark.parametrize(
    ("data", "images", "classes"),
    [
        (PIXELS, 40, 0),
        (torch.from_numpy(PIXELS).movedim(-1, 1), 40, 0),
        (Squares(False), 24, 0),
        (Squares(True), 24, 3),
    ],
    ids=["array", "tensor", "dataset", "labelled dataset"],
)
def test_images_from_python_are_data(data, images: int, classes: int):
    source = images_from_python(data).open("cpu")
    assert isinstance(source, ImageDataset)
    assert (len(source), source.shape, source.classes) == (images, (1, 8, 8), classes)


def test_images_from_python_train_resume_bit_for_bit_and_others_are_refused(tmp_path: Path):
    pipeline = train(UNCONDITIONAL, PIXELS, run=tmp_path / "straight", runtime=CPU)
    train_in_two_parts(tmp_path / "parts", UNCONDITIONAL, PIXELS)
    assert same_weights(tmp_path / "straight", tmp_path / "parts")
    assert load(tmp_path / "parts", runtime=CPU).recipe == pipeline.recipe
    with pytest.raises(ValueError, match="was trained on other data than this"):
        train(UNCONDITIONAL, PIXELS[::-1].copy(), run=tmp_path / "parts", runtime=CPU)
    with pytest.raises(ValueError, match="pass the same images again as data="):
        InMemory().open("cpu")


def test_data_that_holds_no_images_is_refused():
    with pytest.raises(ValueError, match=r"data is a int: expected a path, or images as an array, tensor or Dataset"):
        train_steps(UNCONDITIONAL, 3, runtime=CPU)  # pyright: ignore[reportArgumentType]


def test_a_path_is_a_folder_with_the_choices_of_the_recipe(tmp_path: Path):
    np.savez(tmp_path / "a.npz", images=PIXELS)
    recipe = replace(UNCONDITIONAL, data=Folder(size=8, channels="L"))
    assert train_steps(recipe, tmp_path / "a.npz", runtime=CPU).source.shape == (1, 8, 8)
    assert train_steps(recipe, Digits(size=8), runtime=CPU).recipe.data == Digits(size=8)
