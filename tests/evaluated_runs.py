"""Tiny runs on images of noise, and their evaluation by the function and by the command."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from tiny_recipes import CPU, TINY

from limpid.cli.main import main
from limpid.data import Digits, Folder
from limpid.data.augment import Augment
from limpid.diffusion.guidance import Guidance
from limpid.evaluation.evaluate import evaluate_images
from limpid.evaluation.generated import generated_by
from limpid.evaluation.reference import reference_from_dataset
from limpid.evaluation.reference_set import ReferenceSet
from limpid.evaluation.report import EvalReport
from limpid.evaluation.report_file import load_reports
from limpid.metrics.extractors.base import FeatureExtractor
from limpid.sampling.pipeline import Pipeline
from limpid.training.run import run

QUICK = replace(TINY.sampling, steps=2)


def evaluate_samples(
    pipeline: Pipeline, folder: Path, n: int, extractor: FeatureExtractor, first_seed: int = 0
) -> EvalReport:
    """The scores of n samples against the digits; the samples are cached in the folder."""
    reference = reference_from_dataset(Digits(size=8), extractor)
    seeds = range(first_seed, first_seed + n)
    generated = generated_by(pipeline.with_sampling(QUICK), "tiny", folder, "ema", seeds, 20)
    report, _ = evaluate_images(generated, ReferenceSet(extractor, reference, None, {}), CPU)
    return report


def write_noise_images(path: Path, n: int, seed: int) -> Path:
    """An archive of n images of independent noise."""
    rng = np.random.default_rng(seed)
    np.savez(path, images=rng.integers(0, 256, (n, 8, 8, 3), np.uint8))
    return path


def train_on_noise(folder: Path, n: int, held_out: float) -> Path:
    """The folder of a tiny run on n images of noise, of which a fraction `held_out` is the test split."""
    data = Folder(str(write_noise_images(folder / "photos.npz", n, 0)), size=8, held_out=held_out)
    recipe = replace(TINY, data=data, class_conditional=False, label_dropout=0.0, augment=Augment(flip=0.0))
    unguided = replace(recipe.sampling, steps=2, guidance=Guidance())
    assert run(replace(recipe, sampling=unguided), folder / "run", CPU)
    return folder / "run"


def report_of_command(folder: Path, out: Path, *options: str) -> EvalReport:
    """The report that `limpid evaluate` writes to the file `out`."""
    assert main(["evaluate", str(folder), "--device", "cpu", "--out", str(out), *options]) == 0
    return load_reports(out)[-1]


def noise_reference(path: Path) -> list[str]:
    """Options of `limpid evaluate`: the reference is 300 other images of noise, which are written to the path."""
    return ["--reference", "Folder", "--reference.root", str(write_noise_images(path, 300, 1)), "--reference.size", "8"]
