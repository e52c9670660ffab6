"""The options of `limpid evaluate`, of a run and of files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from limpid.cli.parser import FLATTEN
from limpid.data import Cifar10, Digits, Folder
from limpid.evaluation.model import Weights
from limpid.evaluation.model_metrics import ModelMetrics
from limpid.evaluation.reference import ReferenceStats
from limpid.recipes.recipe import DataPath, Sampling
from limpid.runtime.device import Runtime


@dataclass(frozen=True)
class TrainingData:
    """The training set of the evaluated run."""


ReferenceChoice: TypeAlias = TrainingData | Cifar10 | Digits | Folder | ReferenceStats


@dataclass(frozen=True)
class EvalOptions:
    """How images are evaluated, samples of a run or images from files."""

    reference: ReferenceChoice = TrainingData()
    """The real images that they are compared with, or the statistics of such images."""
    n: int = 10_000
    """Number of images to evaluate; only scores of equal n can be compared."""
    features: str = "cifar"
    """The feature network. cifar is limpid's own classifier, and gives FD-CIFAR.
    The others give FID, by Inception with the preprocessing of the program of that name:
    torch-fidelity, edm, pytorch-fid, clean-fid, clean-fid-legacy-tensorflow, clean-fid-legacy-pytorch, torchmetrics."""
    inception: str = ""
    """File of the Inception weights; without it they are taken from torch's cache, or downloaded."""
    out: Path = Path("scores.json")
    """The file that the scores are added to."""
    save_stats: str = ""
    """Also write the mean and covariance of the features, as mu and sigma, to this .npz file."""


@dataclass(frozen=True)
class EvaluateRun:
    """Compute FID or FD-CIFAR and other metrics of samples of a run, against real images."""

    options: Annotated[EvalOptions, FLATTEN]
    sampling: Annotated[Sampling, FLATTEN]
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
    seed: int = 0
    """Seed of the first sample; the following samples have the following seeds."""
    weights: Weights = "ema"
    """ema: the exponential moving average of the weights; raw: the weights of the last step."""
    batch_size: int = 250
    """Images sampled at a time."""
    metrics: Annotated[ModelMetrics, FLATTEN] = ModelMetrics()
    data: DataPath = DataPath()
    sweep: tuple[str, ...] = ()
    """Evaluate every combination of several values of options, as in: steps=10,20,50 guidance=1,1.5,2."""

    @property
    def seeds(self) -> range:
        """The seeds of the samples."""
        return range(self.seed, self.seed + self.options.n)


@dataclass(frozen=True)
class EvaluateFiles:
    """Compute FID or FD-CIFAR and other metrics of the images of a folder, a .zip or an .npz, against real images."""

    options: Annotated[EvalOptions, FLATTEN]
    images: Folder
    runtime: Annotated[Runtime, FLATTEN] = Runtime()
