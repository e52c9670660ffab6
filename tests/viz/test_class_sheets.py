"""Sheets stay small, however many classes and images there are."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_recipes import TINY

from limpid.cli.sample import Sample, output_names, save_outputs
from limpid.recipes.recipe import build_denoiser
from limpid.runtime.rng import random_subset
from limpid.sampling import figures
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.samples import Samples
from limpid.viz.class_sheets import sheet_classes, sheet_images, sheet_title

NAMES = tuple(f"class {i}" for i in range(1000))


def of_classes(names: tuple[str, ...]) -> Pipeline:
    recipe = replace(TINY, sampling=replace(TINY.sampling, steps=2))
    return Pipeline(build_denoiser(recipe, (1, 8, 8), len(names)).eval(), recipe, (1, 8, 8), names, 0)


@pytest.fixture(scope="module")
def many() -> Pipeline:
    return of_classes(NAMES)


def test_a_sheet_shows_every_class_of_ten_and_ten_of_more_the_same_each_time():
    assert [sheet_classes(n) for n in (0, 1, 10)] == [[], [0], list(range(10))]
    assert sheet_classes(1000) == sheet_classes(1000) == random_subset(10, 1000).tolist()


def test_figures_of_many_classes_stay_below_2000_pixels(many: Pipeline, tmp_path: Path):
    samples = figures.preview_samples(many)
    assert len(samples) == 80
    with Image.open(figures.save_sample_grid(samples, tmp_path / "a.png")) as sheet:
        assert max(sheet.size) < 2000
    assert torch.equal(samples.pixels, figures.preview_samples(many).pixels)
    path = figures.denoising_animation(many, tmp_path / "a.webp", range(10), sheet_classes(1000))
    with Image.open(path) as animation:
        assert max(animation.size) < 2000


def test_the_classes_of_a_sheet_that_shows_some_are_named_in_its_title():
    shown = sheet_classes(1000)
    words = sheet_title(shown, NAMES).replace("\n", " ")
    assert words == "10 of 1,000 classes: " + ", ".join(NAMES[i] for i in shown)
    assert sheet_title(range(10), NAMES[:10]) == ""
    assert sheet_title([0] * 1000, (), 5000) == "1,000 of 5,000 images"


@pytest.mark.parametrize(("n", "classes"), [(80, 1000), (2000, 1000), (3000, 30), (5000, 0), (80, 10), (5, 10)])
def test_a_grid_of_samples_has_ten_rows_at_most(n: int, classes: int, tmp_path: Path):
    pipeline = of_classes(NAMES[:classes]) if classes else replace(of_classes(NAMES[:1]), class_names=())
    labels = pipeline.label_indices(None, n)
    options = Sample(tmp_path, pipeline.recipe.sampling, num_samples=n)
    pixels = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    samples = Samples(pixels, None if labels is None else tuple(labels), tuple(range(n)), pipeline.class_names)
    (sheet,) = save_outputs(samples, options, output_names(options))
    with Image.open(sheet) as image:
        assert image.height < 3500
    shown = sheet_images(labels or [0] * n)
    assert len(shown) <= 1000
    if labels and n >= classes:
        assert len(set(labels)) == classes
    if labels:
        assert len({labels[i] for i in shown}) == min(10, n, classes)
    if n <= 1000 and classes <= 10:
        assert shown == list(range(n))


def test_a_sheet_has_the_requested_order():
    assert sheet_images([3, 3, 7, 7, 3]) == [0, 1, 2, 3, 4]
    assert len(sheet_images([label for label in range(12) for _ in range(200)])) == 1000
