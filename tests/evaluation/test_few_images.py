"""Runs on a few images of one's own are evaluated, or refused before anything is sampled."""

from pathlib import Path

import pytest
from evaluated_runs import noise_reference, report_of_command, train_on_noise

from limpid.cli.main import main
from limpid.sampling.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("no_final_figures")


@pytest.fixture(scope="module")
def run_on_six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on six images, of which none is held out."""
    return train_on_noise(tmp_path_factory.mktemp("six"), 6, 0.0)


@pytest.fixture(scope="module")
def run_on_five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on five images."""
    return train_on_noise(tmp_path_factory.mktemp("five"), 5, 0.0)


@pytest.fixture(scope="module")
def run_on_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on a single image."""
    return train_on_noise(tmp_path_factory.mktemp("one"), 1, 0.0)


@pytest.fixture
def no_sampling(
    trained_run: Path, noise_run: Path, run_on_six: Path, run_on_five: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampling fails the test. The runs, which sample when they end, are trained before."""
    monkeypatch.setattr(Pipeline, "sample_batches", lambda *_, **__: pytest.fail("an image was sampled"))


def test_six_images_are_enough_to_compare_with(cache: None, tmp_path: Path, run_on_six: Path):
    report = report_of_command(run_on_six, tmp_path / "scores.json", "--n", "40")
    assert {"FD-CIFAR", "KD-CIFAR", "coverage"} <= report.scores.keys()


def test_samples_of_a_run_on_one_image_are_compared_with_another_reference(
    cache: None, tmp_path: Path, run_on_one: Path
):
    options = noise_reference(tmp_path / "others.npz")
    report = report_of_command(run_on_one, tmp_path / "scores.json", "--n", "40", *options)
    assert report.notes[-1].endswith("no generalization gap: Folder train has one image only")


@pytest.mark.parametrize(
    ("held_out", "reason"),
    [
        (0.1, "9 images of Folder test are too few: expected at least 20"),
        (0.0, "is of the split 'test': with 0 of them held out"),
    ],
)
def test_runs_on_few_images_have_no_held_out_scores_and_a_note_with_the_reason(
    cache: None, tmp_path: Path, held_out: float, reason: str
):
    folder = train_on_noise(tmp_path, 120, held_out)
    report = report_of_command(folder, tmp_path / "scores.json", "--n", "40")
    assert {"FD-CIFAR", "KD-CIFAR", "recall"} <= report.scores.keys()
    assert all(score.held_out is None for score in report.scores.values())
    held_out_note, copies_note = report.notes
    assert held_out_note.startswith("no scores of held-out real images: ")
    assert copies_note.startswith("memorization only as a figure, no generalization gap: ")
    assert held_out_note.endswith(reason)
    assert copies_note.endswith(reason)
    assert not [name for name in report.scores if name.startswith(("copies", "held-out loss"))]
    assert {path.name for path in tmp_path.glob("*by*.png")} == {"copies-by-features.png", "copies-by-pixels.png"}


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("run_on_five", "--n 40", "5 images of Folder train are too few to compare with: expected at least 6"),
        ("run_on_six", "--n 39", "39 images are too few to evaluate: expected at least 40"),
        ("run_on_six", "--sweep n=40,39", "39 images are too few to evaluate: expected at least 40"),
        ("run_on_six", "--n 40 --sweep sampler=Heun,Hein", "Hein"),
        ("run_on_six", "--n 40 --gap-images 1", "--gap-images 1: expected 0 for none, or at least 2 images"),
        ("run_on_six", "--n 40 --likelihood-images 4", "of the split 'test': with 0 of them held out"),
        ("noise_run", "--n 40 --likelihood-images 1", "expected 2 to 146 images"),
        ("noise_run", "--n 40 --likelihood-images 147", "expected 2 to 146 images"),
        ("trained_run", "--n 40 --likelihood-images 1798", "expected 2 to 1797 images"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_sampling(
    cache: None,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    name: str,
    options: str,
    message: str,
):
    folder = request.getfixturevalue(name)
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--device", "cpu", *options.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("no_sampling")
def test_a_classification_score_without_classes_or_held_out_images_is_refused_before_sampling(
    cache: None, trained_run: Path, noise_run: Path, capsys: pytest.CaptureFixture[str]
):
    for folder in (trained_run, noise_run):
        assert main(["evaluate", str(folder), "--n", "60", "--device", "cpu", "--cas"]) == 2
        assert "--cas needs a class-conditional model and held-out real images" in capsys.readouterr().err
