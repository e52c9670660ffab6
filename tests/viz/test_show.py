"""What `limpid show` draws of a recipe: the schedule it trains on, and beside it the levels it samples at."""

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image
from tiny_recipes import TINY

from limpid.data.images import ImageDataset
from limpid.diffusion.schedules import Cosine, Karras, LinearBeta, LogNormal, Schedule, sampling_levels
from limpid.recipes.recipe import Recipe, TrainingSchedule
from limpid.recipes.registry import RECIPES
from limpid.viz import show

SCHEDULES = [kind for union in get_args(Schedule) for kind in (get_args(union) or (union,))]


@pytest.mark.parametrize("levels", [TrainingSchedule(), Karras()])
def test_the_first_curve_of_a_schedule_is_that_of_training(levels):
    recipe = replace(TINY, schedule=Cosine(T=10), sampling=replace(TINY.sampling, schedule=levels, steps=4))
    alpha_bar, snr, beta = show.schedule_panels(recipe)
    f = [math.cos((t / 10 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(11)]  # Nichol and Dhariwal 2021, eq. 17
    assert alpha_bar.series[0].label == "training: Cosine"
    assert list(alpha_bar.series[0].x) == list(range(1, 11))
    assert alpha_bar.series[0].y[:-1] == pytest.approx([value / f[0] for value in f[1:-1]])
    assert snr.series[0].y[:-1] == pytest.approx([value / (f[0] - value) for value in f[1:-1]])
    assert beta.series[0].y[:-1] == pytest.approx([1 - f[t] / f[t - 1] for t in range(1, 10)])


def test_sampling_levels_of_another_schedule_are_a_second_curve():
    recipe = RECIPES["cifar10-small"]()
    alpha_bar, snr = show.schedule_panels(recipe)
    levels = sampling_levels(recipe.sampling_schedule, recipe.sampling.steps)[:-1]
    assert [curve.label for curve in snr.series] == ["training: LogNormal", "sampling: Karras, 10 steps"]
    assert snr.series[1].y == pytest.approx(levels.edm_sigma.pow(-2).tolist())
    assert alpha_bar.series[1].y == pytest.approx((1 / (1 + levels.edm_sigma.square())).tolist())
    assert alpha_bar.series[1].x == pytest.approx([1 - i / 10 for i in range(10)])


def test_one_curve_shows_training_and_sampling_where_both_have_the_same_schedule():
    assert all(len(panel.series) == 1 for panel in show.schedule_panels(RECIPES["cifar10"]()))


@pytest.mark.parametrize("what", [show.schedule, show.forward])
def test_another_training_schedule_is_another_image(what, tmp_path: Path):
    files = [tmp_path / "one.png", tmp_path / "other.png"]
    for schedule, file in zip((LogNormal(), Cosine()), files, strict=True):
        what(replace(TINY, schedule=schedule), file)
    assert files[0].read_bytes() != files[1].read_bytes()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda kind: kind.__name__)
def test_every_training_schedule_can_be_plotted(schedule, tmp_path: Path):
    recipe: Recipe = replace(TINY, schedule=schedule())
    for what in (show.schedule, show.forward):
        with Image.open(what(recipe, tmp_path / "figure.png")) as image:
            assert image.width > 300


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda kind: kind.__name__)
def test_the_levels_of_a_strip_are_finite_and_grow(schedule):
    ratio = schedule()(show.u_at_even_angles(schedule(), 9)).edm_sigma
    assert (ratio.diff() > 0).all()
    assert ratio[:-1].isfinite().all()


def test_a_strip_has_the_timesteps_of_training():
    assert show.u_at_timesteps(LinearBeta(T=10), [0, 5, 10]).tolist() == [0, 0.5, 1]
    with pytest.raises(ValueError, match=r"timesteps 11: .* has those from 0 to 10"):
        show.u_at_timesteps(LinearBeta(T=10), [11])


def test_a_small_set_without_classes_is_shown_with_no_image_twice(tmp_path: Path):
    source = ImageDataset(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), [0] * 5)
    with Image.open(show.data(TINY, tmp_path / "data.png", source)) as sheet:
        grey = torch.frombuffer(bytearray(sheet.convert("L").tobytes()), dtype=torch.uint8)
    one = show.data(TINY, tmp_path / "one.png", ImageDataset(source.pixels[:1], [0]))
    with Image.open(one) as sheet:
        black = int((torch.frombuffer(bytearray(sheet.convert("L").tobytes()), dtype=torch.uint8) == 0).sum())
    assert int((grey == 0).sum()) == 5 * black
