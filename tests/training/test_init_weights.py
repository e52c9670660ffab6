"""Training that begins with trained weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_models import random_pipeline
from tiny_recipes import CPU, TINY
from torch import Tensor

from limpid.cli.main import main
from limpid.data import Digits, InMemory
from limpid.data.images import ImageDataset
from limpid.diffusion.level import Level
from limpid.diffusion.targets import Eps
from limpid.nets import UNet
from limpid.recipes.recipe import Recipe, build_denoiser
from limpid.sampling.pipeline import load
from limpid.storage.checkpoint import latest, read_tensors
from limpid.training.api import train_steps
from limpid.training.init_weights import initial_weights

pytestmark = pytest.mark.usefixtures("no_final_figures")
SHAPE = (1, 8, 8)
NAMES = tuple(map(str, range(10)))
ARCHS = {"ddpm": TINY.network, "ddpmpp": replace(TINY.network, arch="ddpmpp", resample="biggan")}


def saved(recipe: Recipe, path: Path) -> str:
    """The file of a random model of the digits."""
    pipeline = random_pipeline(recipe, SHAPE, NAMES if recipe.class_conditional else ())
    return str(pipeline.save(path))


@torch.no_grad()
def outputs(recipe: Recipe, tensors: dict[str, Tensor], classes: int, labels: Tensor | None) -> Tensor:
    """What a network predicts of two images."""
    model = build_denoiser(recipe, SHAPE, classes).eval()
    model.net.load_state_dict(tensors)
    x, level = torch.linspace(-1, 1, 128).reshape(2, *SHAPE), Level(torch.ones(2), torch.tensor([0.3, 2.0]))
    return model.predict(x, level, labels)


def test_a_run_begins_with_the_weights_and_resumes_bit_for_bit(tmp_path: Path):
    path = saved(TINY, tmp_path / "model.safetensors")
    words = ["train", "demo", "--init", path, "--data.size", "8", "--batch-size", "16", "--every.save", "32"]
    words += ["--network.model-channels", "16", "--network.channel-mult", "1", "2", "--network.attn-resolutions", "4"]
    words += ["--every.sample", "0", "--sampling.steps", "2", "--precision", "float32"]
    words += ["--optimizer.lr-schedule", "constant", "--run"]
    runs = tmp_path / "whole", tmp_path / "parts"
    assert main([*words, str(runs[0]), "--duration", "64"]) == 0
    assert main([*words, str(runs[1]), "--duration", "32"]) == 0
    Path(path).unlink()  # a run that has begun does not need them any more
    assert main([*words, str(runs[1]), "--duration", "64"]) == 0
    ends = [read_tensors(file) for run in runs if (file := latest(run / "checkpoints"))]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_steps_from_python_begin_with_the_weights_too(tmp_path: Path):
    path = saved(TINY, tmp_path / "model.safetensors")
    state = train_steps(replace(TINY, init=path), runtime=CPU).state
    expected = load(path).model.net.state_dict()
    for net in (state.model.net, state.ema.net):
        assert all(torch.equal(weight, expected[name]) for name, weight in net.state_dict().items())


@pytest.mark.parametrize("dropout", [0.0, 0.1], ids=["mean", "trained"])
@pytest.mark.parametrize("network", ARCHS.values(), ids=ARCHS)
def test_other_classes_begin_as_no_label(network: UNet, dropout: float, tmp_path: Path):
    recipe = replace(TINY, network=network, label_dropout=dropout)
    path = saved(recipe, tmp_path / "model.safetensors")
    before = {name: weight.float() for name, weight in load(path).model.net.state_dict().items()}
    images = InMemory(ImageDataset(torch.zeros(4, *SHAPE, dtype=torch.uint8), [0, 1, 0, 1], ("cat", "dog")))
    labelled = replace(recipe, init=path, data=images)
    found = outputs(recipe, initial_weights(labelled, images.open("cpu")).tensors or {}, 2, torch.tensor([0, 1]))
    plain = replace(labelled, class_conditional=False)
    alone = outputs(plain, initial_weights(plain, images.open("cpu")).tensors or {}, 0, None)
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
    if dropout:
        torch.testing.assert_close(alone, outputs(recipe, before, 10, None), rtol=1e-4, atol=1e-5)


def test_a_model_without_classes_learns_some(tmp_path: Path):
    plain = replace(TINY, class_conditional=False, label_dropout=0.0)
    recipe = replace(TINY, init=saved(plain, tmp_path / "model.safetensors"))
    found = outputs(TINY, initial_weights(recipe, Digits(size=8).open("cpu")).tensors or {}, 10, torch.tensor([3, 10]))
    expected = outputs(plain, dict(load(recipe.init).model.net.state_dict()), 0, None)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": Eps()}, r"for another recipe \(target.kind Edm -> Eps"),
        (
            {"network": replace(TINY.network, model_channels=8)},
            r"network.model_channels 16 -> 8\): train the recipe of",
        ),
        ({"init": "nowhere"}, "no checkpoint in nowhere"),
    ],
)
def test_weights_of_another_network_are_refused(change: dict[str, object], message: str, tmp_path: Path):
    path = saved(TINY, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        initial_weights(replace(TINY, **{"init": path} | change), Digits(size=8).open("cpu"))  # pyright: ignore[reportArgumentType]


def test_where_images_have_another_number_of_channels_it_is_said_what_chooses_it(tmp_path: Path):
    path = saved(TINY, tmp_path / "model.safetensors")
    colour = ImageDataset(torch.zeros(20, 3, 8, 8, dtype=torch.uint8), torch.zeros(20, dtype=torch.long), ("0",))
    message = (
        "are for images of 8x8 with 1 channels, and these have 8x8 with 3 channels: --data.size and --data.channels"
    )
    with pytest.raises(ValueError, match=message):
        initial_weights(replace(TINY, init=path), colour)
