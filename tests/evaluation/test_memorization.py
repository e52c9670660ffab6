"""Samples that are copies of training images are found and counted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluated_runs import noise_reference, report_of_command

from limpid.evaluation.generalization_gap import generalization_gap
from limpid.evaluation.memorization import FALSE_ALARM_RATE, memorization
from limpid.evaluation.reference import load_all_images
from limpid.runtime.device import Runtime
from limpid.sampling.checkpoints import checkpoint_path, load_info
from limpid.sampling.pipeline import Pipeline, load
from limpid.storage.hashing import pixels_sha256

pytestmark = pytest.mark.usefixtures("no_final_figures")


@pytest.fixture
def copying_run(cache: None, noise_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose samples are copies of its training images."""
    training = load_all_images(load_info(checkpoint_path(noise_run)).recipe.data).pixels
    monkeypatch.setattr(Pipeline, "sample_batches", lambda pipeline, seeds, *_, **__: iter([training[list(seeds)]]))
    return noise_run


def test_copies_are_found_and_new_images_are_not_copies():
    generator = torch.Generator().manual_seed(0)
    training, new, held_out = (
        torch.randint(0, 256, (n, 48), generator=generator, dtype=torch.uint8) for n in (300, 200, 400)
    )
    half_copied = memorization(torch.cat([training[:50], new[:50]]), held_out, training)
    assert half_copied.distance_ratio[:50].max() == 0
    assert half_copied.nearest[:50].tolist() == list(range(50))
    assert half_copied.rate is not None
    assert half_copied.rate.value == pytest.approx(0.5 + FALSE_ALARM_RATE / 2, abs=0.06)
    uncopied = memorization(new, held_out, training)
    assert uncopied.rate is not None
    assert uncopied.rate.value == pytest.approx(FALSE_ALARM_RATE, abs=0.06)


def test_the_rate_of_copies_is_calibrated_on_held_out_images_of_all_kinds():
    generator = torch.Generator().manual_seed(0)
    centres, new = (torch.rand(4000, 48, generator=generator) for _ in range(2))
    similar = centres[:1000].repeat(4, 1) + 0.1 * torch.rand(4000, 48, generator=generator)
    generated, training = torch.cat([similar[:400], new[1000:1400]]), torch.cat([centres[:1000], new[:1000]])
    found = memorization(generated, torch.cat([similar[1000:3500], new[1400:3900]]), training)
    assert found.rate is not None
    assert found.rate.value == pytest.approx(FALSE_ALARM_RATE, abs=0.02)


def test_the_pairs_that_are_shown_are_the_same_with_and_without_a_rate_of_copies():
    generator = torch.Generator().manual_seed(0)
    generated, training, held_out = (
        torch.randint(0, 256, (n, 48), generator=generator, dtype=torch.uint8) for n in (20, 90, 40)
    )
    with_rate, without = memorization(generated, held_out, training), memorization(generated, None, training)
    assert without.rate is None
    assert torch.equal(without.distance_ratio, with_rate.distance_ratio)
    assert torch.equal(without.nearest, with_rate.nearest)


@pytest.mark.parametrize("other_reference", [False, True], ids=["its own images", "others"])
def test_copies_are_searched_in_the_training_images_whatever_the_reference_is(
    copying_run: Path, tmp_path: Path, other_reference: bool
):
    options = noise_reference(tmp_path / "others.npz") if other_reference else []
    report = report_of_command(copying_run, tmp_path / "scores.json", "--n", "60", *options)
    data = load_info(checkpoint_path(copying_run)).recipe.data
    training, test = load_all_images(data), load_all_images(replace(data, split="test"))
    assert (report.protocol.reference_sha256 != pixels_sha256(training.pixels)) == other_reference
    assert report.scores["copies by pixels"].value == report.scores["copies by features"].value == 1
    runtime = Runtime("cpu").resolve()
    gap = generalization_gap(load(copying_run, runtime=runtime), training, test, 256)
    assert report.scores["held-out loss - training loss"].value == gap.mean_gap.value


def test_without_the_training_images_memorization_is_not_measured(
    copying_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    original, moved = copying_run.parent / "photos.npz", copying_run.parent / "moved.npz"
    options = noise_reference(tmp_path / "others.npz")
    original.rename(moved)
    try:
        report = report_of_command(copying_run, tmp_path / "scores.json", "--n", "60", *options)
    finally:
        moved.rename(original)
    assert not [name for name in report.scores if name.startswith(("copies", "held-out loss"))]
    assert report.scores["FD-CIFAR"].held_out is not None
    missing = f"no folder or file at {original}; if it was moved, give its new path with --data.root"
    note = f"no memorization, no generalization gap: {missing}"
    assert report.notes[1:] == (note,)
    assert note in capsys.readouterr().out


def test_held_out_scores_of_fewer_images_than_were_evaluated_have_a_note(copying_run: Path, tmp_path: Path):
    report = report_of_command(copying_run, tmp_path / "scores.json", "--n", "200")
    assert report.notes == ("held-out real: 146 images, as there are no more",)
