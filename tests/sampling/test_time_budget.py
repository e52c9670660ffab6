"""Figures fit into a time budget: less is sampled where sampling is slow, and all of it where it is not."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from tiny_recipes import TINY

from limpid.diffusion.guidance import Guidance
from limpid.diffusion.samplers import Ddim
from limpid.diffusion.samplers.steps import SamplerStep
from limpid.recipes.recipe import build_denoiser
from limpid.sampling import figures
from limpid.sampling.pipeline import Pipeline
from limpid.sampling.time_budget import seconds_per_image
from limpid.viz import show

UNLIMITED = 1e6
"""Seconds that no machine needs for a grid, however busy it is."""
NAMES = tuple(f"class {i}" for i in range(10))


def pipeline_of(names: tuple[str, ...]) -> Pipeline:
    torch.manual_seed(0)
    recipe = replace(
        TINY,
        class_conditional=bool(names),
        sampling=replace(TINY.sampling, steps=20, sampler=Ddim(), guidance=Guidance()),
    )
    return Pipeline(build_denoiser(recipe, (1, 8, 8), len(names)).eval(), recipe, (1, 8, 8), names, 0)


class FakeClock:
    """A clock that each step of a sampler advances by `seconds`, and by `each` for every image."""

    def __init__(self, seconds: float, each: float, patch: pytest.MonkeyPatch):
        self.now, self.images = 0.0, 0
        trajectory = Pipeline.trajectory

        def timed(pipeline: Pipeline, *args: object, **options: object) -> Iterator[SamplerStep]:
            steps = trajectory(pipeline, *args, **options)  # pyright: ignore[reportArgumentType]
            yield next(steps)
            for step in steps:
                self.now += seconds + each * len(step.x)
                self.images += len(step.x)
                yield step

        patch.setattr(Pipeline, "trajectory", timed)
        patch.setattr(time, "perf_counter", lambda: self.now)


@pytest.mark.parametrize(
    ("classes", "most", "shape"),
    [(10, 80, (10, 8)), (10, 79, (10, 7)), (10, 20, (10, 2)), (10, 19, (10, 1)), (10, 9, (9, 1)), (10, 1, (1, 1))],
)
def test_a_grid_has_fewer_samples_of_each_class_before_it_has_fewer_classes(classes: int, most: int, shape):
    seeds = figures.grid_seeds(classes, most)
    rows, columns = shape
    assert seeds == [8 * row + column for row in range(rows) for column in range(columns)]


def test_a_grid_without_classes_has_as_many_samples_as_there_is_time_for():
    assert [len(figures.grid_seeds(0, most)) for most in (1, 5, 64, 500)] == [1, 5, 64, 64]


@pytest.mark.parametrize("names", [NAMES, ()])
def test_samples_of_a_smaller_grid_are_those_of_the_complete_one(names: tuple[str, ...], monkeypatch):
    pipeline = pipeline_of(names)
    complete = figures.preview_samples(pipeline, UNLIMITED)
    FakeClock(0.0, 0.05, monkeypatch)  # 1 s an image
    fewer = figures.preview_samples(pipeline, 30.0)
    assert figures.omissions(complete) == ""
    assert figures.omissions(fewer) == ("50 of 80 samples" if names else "34 of 64 samples")
    assert fewer.seeds == tuple(figures.grid_seeds(len(names), 30))
    assert fewer.labels == (tuple(complete.labels[seed] for seed in fewer.seeds) if complete.labels else None)
    difference = fewer.pixels.int() - complete.pixels[list(fewer.seeds)].int()
    assert difference.abs().max() <= 1  # the rounding of other batch sizes


def test_where_time_suffices_every_sample_is_the_same_bit_for_bit(monkeypatch: pytest.MonkeyPatch):
    pipeline = pipeline_of(NAMES)
    labels = figures.grid_labels(pipeline)
    plain = torch.cat(list(pipeline.sample_batches(range(80), labels)))
    assert torch.equal(figures.preview_samples(pipeline, UNLIMITED).pixels, plain)
    FakeClock(0.0, 0.0175, monkeypatch)  # 28 s for all
    assert torch.equal(figures.preview_samples(pipeline, 30.0).pixels, plain)


def test_a_step_that_takes_as_long_for_many_images_as_for_one_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch):
    FakeClock(0.025, 0.00025, monkeypatch)  # 41 s for one at a time, 5 s for 64
    assert len(figures.preview_samples(pipeline_of(NAMES), 30.0)) == 80


def test_measuring_costs_little_of_the_budget(monkeypatch: pytest.MonkeyPatch):
    clock = FakeClock(0.0, 2.5, monkeypatch)
    labels = figures.grid_labels(pipeline_of(NAMES))
    assert seconds_per_image(pipeline_of(NAMES), labels, 80, 30.0) == pytest.approx(50.0)
    assert clock.images == 4  # steps, of one image
    assert len(figures.preview_samples(pipeline_of(NAMES), 30.0)) == 1


def test_a_step_that_was_interrupted_leaves_nothing_out(monkeypatch: pytest.MonkeyPatch):
    clock, reads = FakeClock(0.0, 0.00025, monkeypatch), count()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now + 20 * min(2, next(reads)))  # two steps of 20 s
    assert len(figures.preview_samples(pipeline_of(NAMES), 30.0)) == 80


@pytest.mark.parametrize(("each", "left"), [(0.025, ""), (0.05, "20 of 80 samples and the animation")])
def test_the_figures_of_a_finished_run_fit_a_minute_and_name_what_they_leave_out(
    each: float, left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("forward", "loss"):
        monkeypatch.setattr(show, name, lambda _, path: path)
    clock = FakeClock(0.0, each, monkeypatch)
    names = [path.name for path in figures.final_figures(pipeline_of(NAMES), tmp_path)]
    assert clock.now <= 66
    assert ("denoising.webp" in names) == (not left)
    output = capsys.readouterr().out
    assert output.startswith(f"sampling for the final figures: about {60 if left else 45} s\n")
    command = f"limpid sample {tmp_path} --num-samples 80 --animation"
    assert output.count("\n") == (2 if left else 1)
    assert (f"omitted, to take no more than 60 s: {left}; to generate them: {command}\n" in output) == bool(left)
