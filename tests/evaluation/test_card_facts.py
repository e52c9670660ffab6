"""What a model card states: the recipe's name, the time of training, the metadata, and weights in float16."""

from dataclasses import replace

import pytest
import torch

from limpid.evaluation.card_facts import recipe_name
from limpid.interop.front_matter import front_matter
from limpid.interop.run_history import training_seconds
from limpid.recipes.registry import RECIPES
from limpid.sampling.half_precision import half


def test_a_weight_that_float16_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=r"net\.bias holds 7e"):
        half("net.bias", torch.tensor([1.0, 7e4]))
    assert half("net.steps", torch.tensor([70_000])).dtype == torch.int64


def test_a_recipe_has_its_name_whatever_its_length_and_sampling():
    demo = RECIPES["demo"]()
    assert recipe_name(replace(demo, duration=1, sampling=replace(demo.sampling, steps=3))) == "demo"
    assert recipe_name(replace(demo, batch_size=1)) == ""


def test_the_time_of_training_is_that_of_the_images_up_to_the_checkpoint():
    lines = [{"images_seen": seen, "images_per_second": speed} for seen, speed in ((10, 5.0), (20, 10.0), (30, 1.0))]
    assert training_seconds([*lines, {"images_seen": 20, "FD": 1.0}], 20) == 3.0


def test_front_matter_is_read_back_as_it_was():
    import yaml

    values = {
        "license": "cc-by-4.0",
        "tags": ["yes", "a: b", "on", "naïve #1", "line\nend", "1e3"],
        "numbers": [1, -2.5, 1e-7, 3e20],
        "nested": [{"name": "a", "results": [{"type": "x", "args": {"n": 3}}]}],
    }
    assert yaml.safe_load(front_matter(values).strip("-")) == values
