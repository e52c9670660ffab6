"""`limpid evaluate` on a run, on files and against published statistics."""

import json
from pathlib import Path

import numpy as np
import pytest
from evaluated_runs import evaluate_samples
from tiny_recipes import CPU

from limpid.cli.main import main
from limpid.data import Digits
from limpid.data.images import ImageDataset
from limpid.evaluation.reference import reference_from_dataset
from limpid.evaluation.report_file import load_reports
from limpid.evaluation.scores import feature_extractor
from limpid.metrics.extractors import cifar_classifier
from limpid.sampling.pipeline import load


def test_the_command_writes_the_protocol_beside_the_numbers(
    cache: None, trained_run: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["evaluate", str(trained_run), "--n", "40", "--steps", "2", "--device", "cpu"]) == 0
    output = capsys.readouterr()
    assert "FD-CIFAR" in output.out
    assert "40 of 40 images" in output.err
    report = json.loads((trained_run / "scores.json").read_text())["reports"][-1]
    assert report["protocol"] == {
        "n": 40,
        "feature_extractor": cifar_classifier.NETWORK,
        "extractor_sha256": cifar_classifier.about()["sha256"],
        "resize": "antialiased bilinear to 32x32, RGB",
        "reference": "Digits",
        "reference_n": 1797,
        "reference_sha256": reference_from_dataset(Digits(size=8), feature_extractor("cifar")).sha256,
    }
    assert report["provenance"]["seeds"] == "0..39"
    assert report["provenance"]["steps"] == 2
    assert report["provenance"]["weights"] == "ema"
    low, high = report["scores"]["FD-CIFAR"]["interval"]
    assert low < report["scores"]["FD-CIFAR"]["value"] < high


def test_sample_files_are_evaluated_like_the_run_that_generated_them(cache: None, trained_run: Path):
    out = trained_run / "out"
    sampling = ["--n", "40", "--steps", "2", "--device", "cpu"]
    assert main(["sample", str(trained_run), *sampling, "--npz", "--out", str(out)]) == 0
    reference = ["--reference", "Digits", "--reference.size", "8"]
    options = ["--images.size", "8", "--images.channels", "L", "--n", "40", "--device", "cpu"]
    assert main(["evaluate", str(out / "samples.npz"), *options, *reference]) == 0
    report = load_reports(out / "samples.npz.scores.json")[-1]
    assert report.protocol.reference == "Digits"
    report_of_run = evaluate_samples(
        load(trained_run, runtime=CPU), trained_run / "again", 40, feature_extractor("cifar")
    )
    # The command `sample` assigns classes in blocks, an evaluation in turn: other images of the same distribution.
    assert report.protocol == report_of_run.protocol
    assert report.scores["FD-CIFAR"].value == pytest.approx(report_of_run.scores["FD-CIFAR"].value, rel=0.5)


def test_published_statistics_give_only_a_frechet_distance_and_an_inception_score(
    cache: None, tmp_path: Path, trained_run: Path
):
    digits = Digits(size=8).load()
    archive, path = tmp_path / "digits.npz", tmp_path / "statistics.npz"
    np.savez(archive, images=digits.pixels.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy())
    options = ["--images.size", "8", "--n", "1797", "--device", "cpu", "--reference", "Digits", "--reference.size", "8"]
    assert main(["evaluate", str(archive), *options, "--save-stats", str(path)]) == 0
    common = ["evaluate", str(trained_run), "--n", "40", "--steps", "2", "--device", "cpu"]
    assert main([*common, "--reference", "ReferenceStats", "--reference.path", str(path)]) == 0
    with_statistics = load_reports(trained_run)[-1]
    assert main(common) == 0
    with_images = load_reports(trained_run)[-1]
    assert set(with_statistics.scores) == {"FD-CIFAR", "IS-CIFAR"}
    assert with_statistics.scores["FD-CIFAR"].value == pytest.approx(with_images.scores["FD-CIFAR"].value, rel=1e-6)


def test_files_in_the_order_of_their_classes_have_the_scores_of_shuffled_ones(
    cache: None, tmp_path: Path, digits_by_class: ImageDataset
):
    distances = []
    for name, images in (("by class", digits_by_class), ("shuffled", Digits(size=8).load())):
        archive = tmp_path / f"{name}.npz"
        np.savez(archive, images=images.pixels.permute(0, 2, 3, 1).numpy())
        options = ["--images.size", "8", "--images.channels", "L", "--n", "300", "--device", "cpu"]
        reference = ["--reference", "Digits", "--reference.size", "8"]
        assert main(["evaluate", str(archive), *options, *reference]) == 0
        distances.append(load_reports(tmp_path / f"{name}.npz.scores.json")[-1].scores["FD-CIFAR"].value)
    assert distances[0] == pytest.approx(distances[1], rel=0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate"], "needs a RUN"),
        (["evaluate", "nowhere"], "there is no nowhere"),
        (["compare"], "needs a RUN A"),
        (["compare", "a"], "needs a RUN B"),
        (["compare", "a", "b"], "no scores at a"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
