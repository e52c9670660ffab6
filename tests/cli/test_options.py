"""Options change every field of a recipe; a wrong option is answered with the right one."""

from dataclasses import replace
from pathlib import Path

import pytest

from limpid.cli.main import main
from limpid.cli.parser import parse
from limpid.cli.train import Train
from limpid.diffusion.schedules import Cosine
from limpid.recipes.recipe import Recipe
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import TrainingRuntime


def recipe_from(*args: str) -> Recipe:
    """The recipe cifar10 with these options."""
    default = Train(RECIPES["cifar10"](), TrainingRuntime(), Path("runs/cifar10"))
    return parse(default, args, "limpid train cifar10").recipe


def test_everything_can_be_changed_from_the_command_line():
    recipe = recipe_from(
        *("--schedule", "Cosine", "--schedule.T", "400", "--data.size", "48", "--augment.flip", "0"),
        *("--batch-size", "32", "--network.model-channels", "64", "--images", "1000"),
        *("--sampling.sampler=heun", "--network.attn-resolutions", "12", "24"),
    )
    paper = RECIPES["cifar10"]()
    assert recipe == replace(
        paper,
        duration=1000,
        batch_size=32,
        schedule=Cosine(T=400),
        data=replace(paper.data, size=48),
        augment=replace(paper.augment, flip=0.0),
        network=replace(paper.network, model_channels=64, attn_resolutions=(12, 24)),
        sampling=recipe.sampling,
    )
    assert type(recipe.sampling.sampler).__name__ == "Heun"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--scedule.T", "5"], "--schedule.T"),
        (["--schedule.T", "many"], "many"),
        (["--duraton", "5"], "--duration"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(args: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        recipe_from(*args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--labels", "cat"], "no class 'cat': choose from 0, 1, 2"),
        (["--n", "0"], "--num-samples 0 --batch-size 80: expected at least 1 of each"),
        (["--steps", "0"], "expected at least 1"),
        (["--schedule", "LogNormal"], "infinite noise at u = 1"),
        (["--sampler", "Ddim", "--sampler.eta", "nan"], "--sampler.eta nan: expected a number"),
    ],
)
def test_invalid_sampling_options_are_refused(args: list[str], message: str, tiny_run: Path, tmp_path, capsys):
    assert main(["sample", str(tiny_run), *args, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("word", "value"), [("True", True), ("False", False), ("auto", "auto")])
def test_an_option_of_fixed_values_takes_each_of_them(word: str, value: bool | str):
    default = Train(RECIPES["demo"](), TrainingRuntime(), Path("run"))
    assert parse(default, ["--compile", word], "limpid train demo").runtime.compile == value
