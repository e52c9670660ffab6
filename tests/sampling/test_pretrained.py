"""Pretrained networks sample on a machine that has nothing else: no run, no data, no download."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from PIL import Image

from limpid.cli.main import main
from limpid.diffusion.samplers import Ancestral
from limpid.metrics.accuracy import accuracy
from limpid.metrics.extractors import cifar_classifier
from limpid.recipes.registry import RECIPES
from limpid.runtime.device import Runtime
from limpid.sampling.checkpoints import PRETRAINED, PRETRAINED_DIR, checkpoint_path, load_info, output_folder
from limpid.sampling.labels import balanced_labels
from limpid.sampling.pipeline import load


def test_every_file_has_a_name_and_every_name_a_file_that_a_package_can_carry():
    assert {path.name for path in PRETRAINED_DIR.glob("*.safetensors")} == set(PRETRAINED.values())
    assert all((PRETRAINED_DIR / file).stat().st_size <= 16 * 2**20 for file in PRETRAINED.values())


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_network_that_comes_with_limpid_samples_by_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", name, "--n", "2", "--steps", "2"]) == 0
    grid = Path("runs", "shipped", name, "drawn", "grid.png")
    assert str(grid) in capsys.readouterr().out
    with Image.open(grid) as image:
        assert image.width > 2 * 32


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    name = Path("cifar10-small")
    assert checkpoint_path(name).parent == PRETRAINED_DIR
    name.mkdir()
    assert output_folder(name) == name
    with pytest.raises(ValueError, match=r"no checkpoint in cifar10-small: train it first"):
        checkpoint_path(name)


@pytest.mark.parametrize("command", ["sample", "evaluate", "likelihood", "edit img2img", "show trajectory"])
def test_a_recipe_that_was_not_trained_samples_from_no_other_network(command: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), "cifar10"]) == 2
    errors = capsys.readouterr().err
    assert errors.endswith("for a network that comes with limpid type cifar10-small or cifar10-64-small\n")
    assert errors.count("\n") == 1
    (tmp_path / "runs" / "cifar10").mkdir(parents=True)
    assert main([*command.split(), "cifar10"]) == 2
    assert capsys.readouterr().err.endswith(f"for the run of that name {Path('runs', 'cifar10')}\n")


def test_a_name_that_comes_with_limpid_is_that_of_the_recipe_it_was_trained_by():
    for name, file in PRETRAINED.items():
        pipeline, recipe = load_info(PRETRAINED_DIR / file).recipe, RECIPES[name]()
        assert (pipeline.network, pipeline.schedule, pipeline.target) == (
            recipe.network,
            recipe.schedule,
            recipe.target,
        )


@pytest.mark.parametrize("file", sorted(set(PRETRAINED.values())))
def test_it_names_no_path_of_the_machine_it_was_trained_on(file: str):
    assert getattr(load_info(PRETRAINED_DIR / file).recipe.data, "root", "") == ""


def test_it_samples_the_classes_that_it_is_given():
    runtime = Runtime("cpu").resolve()
    pipeline = load("cifar10-small", runtime=runtime)
    labels = balanced_labels(40, len(pipeline.class_names))
    assert labels is not None
    logits = cifar_classifier.cifar_extractor().extract(pipeline.sample(40).pixels).logits
    assert logits is not None
    assert accuracy(logits, torch.tensor(labels)).value > 0.5  # by chance a tenth


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_image_is_the_same_in_any_batch(precision: Literal["float32", "bfloat16"]):
    runtime = Runtime("cpu", precision, compile=False)
    pipeline = load("cifar10-small", runtime=runtime)
    pipeline = pipeline.with_sampling(steps=2, sampler=Ancestral())

    def sampled(first: int, n: int) -> torch.Tensor:
        seeds = range(first, first + n)
        labels = [seed % 10 for seed in seeds]
        return next(pipeline.sample_batches(seeds, labels, n)).int()

    together = sampled(0, 80)
    for first, n in ((0, 8), (79, 1), (5, 3), (7, 37)):
        apart = (sampled(first, n) - together[first : first + n]).abs().max()
        # In float32 the library's kernels for one image, and for fewer than eight rows, round in another manner.
        assert apart <= (1 if precision == "float32" else 0), (first, n)
