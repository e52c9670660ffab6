"""What the tests of evaluation share: a trained run, its pipeline, the feature extractor and a cache."""

from dataclasses import replace
from pathlib import Path

import pytest
from evaluated_runs import train_on_noise
from tiny_recipes import CPU, TINY

from limpid.data import Digits
from limpid.data.images import ImageDataset
from limpid.evaluation.scores import feature_extractor
from limpid.metrics.extractors.base import FeatureExtractor
from limpid.sampling.pipeline import Pipeline, load
from limpid.training.run import run


@pytest.fixture
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are cached where all tests find them."""
    monkeypatch.setenv("LIMPID_DATA", str(shared_cache))


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on digits; tests add reports and samples to it, and change nothing else."""
    folder = tmp_path_factory.mktemp("trained")
    assert run(TINY, folder, CPU)
    return folder


@pytest.fixture(scope="session")
def pipeline(trained_run: Path) -> Pipeline:
    return load(trained_run, runtime=CPU)


@pytest.fixture(scope="session")
def extractor() -> FeatureExtractor:
    return feature_extractor("cifar")


@pytest.fixture(scope="session")
def digits_by_class() -> ImageDataset:
    """The digits in the order of their classes, as the files of a folder are in the order of their names."""
    digits = Digits(size=8).load()
    order = digits.labels.argsort(stable=True)
    return replace(digits, pixels=digits.pixels[order], labels=digits.labels[order])


@pytest.fixture(scope="session")
def noise_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on 254 images of noise; 146 more are held out."""
    folder = tmp_path_factory.mktemp("noise")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMPID_DATA", str(folder / "cache"))
        return train_on_noise(folder, 400, 0.3)
