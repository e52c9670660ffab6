"""The likelihood of a run, measured on a tiny network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_sets import npz
from tiny_recipes import CPU, TINY
from torch import nn

from limpid.data import Cifar10, Digits, Folder
from limpid.data.splits import Split
from limpid.diffusion.likelihood import BIN_WIDTH
from limpid.evaluation.likelihood import LikelihoodConfig, bits_per_dim, chain_levels, data_split, open_split
from limpid.sampling.pipeline import Pipeline, load
from limpid.training.run import run


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("likelihood")
    assert run(TINY, folder, CPU)
    return load(folder, runtime=CPU)


@pytest.mark.parametrize("method", ["bound", "continuous", "ode"])
def test_a_run_has_a_likelihood_that_says_how_it_was_measured(method, pipeline: Pipeline):
    protocol = LikelihoodConfig(n=5, method=method, steps=30, num_levels=3, tolerance=1e-2, batch_size=3)
    measured = bits_per_dim(pipeline, config=protocol)
    assert measured.protocol == protocol
    assert measured.conditional
    assert 0 < measured.mean < 12
    assert 0 < measured.error < 2
    if method != "ode":
        assert measured.mean == pytest.approx(sum(measured.terms.values()))
    assert f"{measured.mean:.4f} +- {measured.error:.4f} bits/dim" in str(measured)
    assert "5 images of the complete training set, class-conditional, seed 0" in str(measured)
    assert bits_per_dim(pipeline, config=protocol) == measured


def test_a_likelihood_is_computed_in_float32_and_leaves_torch_as_it_was(pipeline: Pipeline):
    """torch lets the convolutions of newer GPUs round to the eleven bits of TF32."""
    convolutions, found = torch.backends.cudnn.conv, set()  # pyright: ignore[reportAttributeAccessIssue]
    before = convolutions.fp32_precision

    def note(net: nn.Module, given: tuple[torch.Tensor, ...], answer: torch.Tensor) -> None:
        found.add((convolutions.fp32_precision, answer.dtype))

    with pipeline.model.net.register_forward_hook(note):
        bits_per_dim(pipeline, n=2, steps=30, num_levels=1)
    assert found == {("ieee", torch.float32)}
    assert convolutions.fp32_precision == before == "tf32"


def test_the_test_split_is_measured_where_there_is_one():
    assert data_split(Cifar10(size=8), "test") == (Cifar10(size=8, split="test"), "test set")
    assert data_split(Digits(size=8), "test") == (Digits(size=8), "complete training set")
    with pytest.raises(ValueError, match="split val: CIFAR-10 has train and test"):
        data_split(Cifar10(), "val")


@pytest.mark.parametrize(("split", "count"), [("train", 5), ("val", 3), ("test", 4), ("all", 12)])
def test_the_likelihood_of_every_split_of_own_images_can_be_measured(
    split: Split, count: int, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "data"))
    sizes = {"train": 5, "val": 3, "test": 4}
    arrays = {f"{name}_images": np.full((n, 8, 8), 9, np.uint8) for name, n in sizes.items()}
    (tmp_path / "set.npz").write_bytes(npz(**arrays))
    data = Folder(str(tmp_path / "set.npz"), 8, channels="L")
    own = replace(pipeline, recipe=replace(pipeline.recipe, data=data), class_names=())
    source, name = open_split(data, LikelihoodConfig(n=2, split=split), CPU)
    assert len(source) == count
    assert split in name or name == "images of the training and held-out sets"
    assert name in str(bits_per_dim(own, n=2, split=split, steps=30, num_levels=1))


@pytest.mark.parametrize(
    "wrong", [{"n": 1}, {"n": 2_000}, {"steps": 0}, {"num_levels": -1}, {"batch_size": 0}], ids=str
)
def test_a_protocol_that_cannot_be_is_refused(wrong, pipeline: Pipeline):
    with pytest.raises(ValueError, match="expected 2 to 1797 images"):
        bits_per_dim(pipeline, **wrong)


def test_levels_finer_than_a_bin_are_left_to_the_decoder(pipeline: Pipeline):
    ratios = chain_levels(pipeline, LikelihoodConfig(steps=40)).edm_sigma
    assert ratios[-1] == 0
    assert BIN_WIDTH <= ratios[-2] < 1.5 * BIN_WIDTH
