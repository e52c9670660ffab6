"""`evaluate`, `compare` and `bits_per_dim` take images as Python holds them, and agree with the command."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_recipes import CPU, TINY

from limpid.cli.main import main
from limpid.data import Digits
from limpid.data.images import ImageDataset
from limpid.evaluation.api import evaluate
from limpid.evaluation.compare import compare
from limpid.evaluation.likelihood import bits_per_dim
from limpid.evaluation.reference import ReferenceStats
from limpid.evaluation.report import EvalReport
from limpid.evaluation.report_file import load_reports
from limpid.sampling.pipeline import Pipeline, load
from limpid.sampling.samples import Samples
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("cache")

DIGITS = Digits(size=8)
QUICK = replace(TINY, sampling=replace(TINY.sampling, steps=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("api")
    assert run(QUICK, place, CPU)
    return place


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Pipeline:
    return load(folder, runtime=CPU)


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return DIGITS.load()


def test_a_model_its_path_and_the_command_have_the_same_report(folder: Path, pipeline: Pipeline, tmp_path: Path):
    out = tmp_path / "scores.json"
    assert main(["evaluate", str(folder), "--n", "40", "--device", "cpu", "--precision", "float32"]) == 0
    command = load_reports(folder)[-1]
    of_path = evaluate(folder, n=40, runtime=CPU, out=out)
    of_model = evaluate(pipeline, n=40)
    assert of_path.scores == of_model.scores == command.scores
    assert of_path.protocol == of_model.protocol == command.protocol
    assert of_path.provenance == of_model.provenance == command.provenance
    assert load_reports(out) == [of_path]
    assert (tmp_path / "copies-by-pixels.png").exists()


def test_every_kind_of_images_has_the_same_scores(digits: ImageDataset, tmp_path: Path):
    half = ImageDataset(digits.pixels[:60], torch.zeros(60, dtype=torch.int64))
    array = half.pixels.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "images.npz", images=array)
    pil = list(samples_of(half))
    kinds = [half, half.pixels, array, pil, tmp_path / "images.npz", str(tmp_path / "images.npz"), samples_of(half)]
    reports = [evaluate(images, DIGITS, runtime=CPU) for images in kinds]
    assert all(report.scores == reports[0].scores for report in reports)
    assert reports[0].protocol.n == 60


def samples_of(images: ImageDataset) -> Samples:
    return Samples(images.pixels, None, tuple(range(len(images))))


def test_every_kind_of_reference_has_the_same_distance(
    digits: ImageDataset, pipeline: Pipeline, folder: Path, tmp_path: Path
):
    np.savez(tmp_path / "digits.npz", images=digits.pixels.permute(0, 2, 3, 1).numpy())
    references = [DIGITS, digits, digits.pixels, tmp_path / "digits.npz", pipeline, folder]
    reports = [evaluate(digits.pixels[:60], reference, runtime=CPU) for reference in references]
    assert all(report.scores == reports[0].scores for report in reports)
    assert {report.protocol.reference_n for report in reports} == {1797}


def test_the_images_that_are_evaluated_are_described_in_the_log(digits: ImageDataset, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", logger="limpid")
    evaluate(digits.subset(60), DIGITS, runtime=CPU)
    assert any(line.startswith("images: 60 images of 8x8, grey") for line in caplog.messages)


def test_n_is_all_of_a_set_that_has_fewer_than_ten_thousand_images(digits: ImageDataset):
    few = digits.subset(300)
    assert evaluate(few, DIGITS, runtime=CPU).protocol.n == 300
    assert evaluate(few, DIGITS, n=50, runtime=CPU).protocol.n == 50


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ("digits", {}, "no reference for these images: give a data set"),
        ("digits", {"reference": DIGITS, "n": 2000}, "1,797 images: expected at least n = 2,000"),
        ("digits", {"reference": DIGITS, "n": 39}, "39 images are too few to evaluate"),
        ("digits", {"reference": DIGITS, "features": "inceptoin"}, "no feature extractor 'inceptoin'"),
        ("digits", {"reference": "nowhere"}, "there is no nowhere: expected a run, or a folder"),
        ("digits", {"reference": ReferenceStats("nowhere.npz")}, "nowhere.npz"),
        ("nowhere", {"reference": DIGITS}, "there is no nowhere: expected a run, or a folder"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    digits: ImageDataset, images: str, options: dict[str, object], message: str
):
    with pytest.raises(ValueError, match=message) as refused:
        evaluate(digits if images == "digits" else images, **options, runtime=CPU)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(refused.value)


def test_progress_is_called_with_the_number_of_images(digits: ImageDataset):
    calls: list[int] = []
    evaluate(digits, DIGITS, n=60, runtime=CPU, on_progress=calls.append)
    assert calls[-1] == 60


def test_reports_and_comparisons_show_themselves(digits: ImageDataset, tmp_path: Path):
    a, b = (evaluate(digits.pixels[part], DIGITS, runtime=CPU) for part in (slice(60), slice(60, 120)))
    assert isinstance(a, EvalReport)
    assert "FD-CIFAR" in str(a)
    assert a._repr_html_().startswith("<pre>60 images: ")
    compared = compare(a, b)
    assert (compared.a, compared.b) == (a, b)
    gap = compared.differences["FD-CIFAR"]
    assert gap.value == a.scores["FD-CIFAR"].value - b.scores["FD-CIFAR"].value
    assert "A - B" in str(compared)
    assert "A - B" in compared._repr_html_()


def test_paths_are_compared_as_their_reports(folder: Path, tmp_path: Path):
    for name, seed in (("a", 0), ("b", 100)):
        evaluate(folder, n=40, seed=seed, runtime=CPU, out=tmp_path / f"{name}.json")
    a, b = (load_reports(tmp_path / f"{name}.json") for name in "ab")
    assert str(compare(tmp_path / "a.json", str(tmp_path / "b.json"))) == str(compare(a[0], b))


def test_the_likelihood_of_images_is_that_of_the_data_set_that_has_them(pipeline: Pipeline, digits: ImageDataset):
    settings: dict[str, Any] = {"steps": 30, "num_levels": 3, "seed": 1}
    few = ImageDataset(digits.pixels[:20], digits.labels[:20], digits.class_names)
    of_images = bits_per_dim(pipeline, few.pixels, labels=few.labels.tolist(), **settings)
    assert of_images.conditional
    assert of_images.protocol.n == 20
    assert "20 images, class-conditional, seed 1" in str(of_images)
    unlabelled = bits_per_dim(pipeline, few.pixels.numpy(), **settings)
    assert not unlabelled.conditional
    assert unlabelled.mean != of_images.mean
    again = bits_per_dim(pipeline, list(samples_of(few)), labels=few.labels.tolist(), **settings)
    assert again == of_images


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), {}, "images of 3x8x8"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), {}, "expected 2 to 1 images"),
        (None, {"metod": "ode"}, "did you mean method?"),
        (None, {"method": "odd"}, "odd"),
    ],
)
def test_a_likelihood_that_cannot_be_measured_is_one_line(
    pipeline: Pipeline, images: torch.Tensor | None, options: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as refused:
        bits_per_dim(pipeline, images, **options)
    assert "\n" not in str(refused.value)
