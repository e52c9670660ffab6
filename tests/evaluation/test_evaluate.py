"""A tiny run is scored, from the command to the file."""

import json
import math
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Literal

import numpy as np
import pytest
import torch
from tiny_recipes import CPU, TINY
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from limpid.cli.main import main
from limpid.data import Cifar10, Digits, Folder
from limpid.data.augment import Augment
from limpid.data.images import ImageDataset
from limpid.diffusion.guidance import Guidance
from limpid.evaluation.classifier import accuracy_on_test_set, classification_score, untrained_classifier
from limpid.evaluation.evaluate import evaluate_images
from limpid.evaluation.generalization_gap import generalization_gap
from limpid.evaluation.generated import from_images, generated_by
from limpid.evaluation.likelihood import bits_per_dim
from limpid.evaluation.memorization import FALSE_ALARM_RATE, memorization
from limpid.evaluation.model_metrics import ModelMetrics, check_model_metrics
from limpid.evaluation.reference import (
    Reference,
    held_out,
    load_all_images,
    reference_from_dataset,
    reference_from_images,
)
from limpid.evaluation.reference_set import ReferenceSet, TrainTestPair, with_class_counts
from limpid.evaluation.report import EvalReport, report_table
from limpid.evaluation.report_file import load_reports
from limpid.evaluation.scores import FEATURE_EXTRACTORS, feature_extractor, held_out_scores, scores_of
from limpid.metrics.extractors import cifar_classifier
from limpid.metrics.extractors.base import FeatureExtractor, Features, extract_features
from limpid.metrics.frechet import frechet
from limpid.metrics.moments import Moments, Statistics
from limpid.optim.ema import Ema
from limpid.recipes.recipe import Sampling
from limpid.runtime.device import Runtime
from limpid.sampling.checkpoints import checkpoint_path, load_info
from limpid.sampling.labels import labels_by_share
from limpid.sampling.pipeline import Pipeline, load
from limpid.storage.hashing import pixels_sha256, weights_sha256
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")
QUICK = replace(TINY.sampling, steps=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("scored")
    assert run(TINY, place, CPU)
    return place


@pytest.fixture
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPID_DATA", str(shared_cache))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMPID_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Pipeline:
    return load(folder, runtime=CPU)


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return feature_extractor("cifar")


def test_the_feature_network_is_the_file_whose_hash_is_in_its_json_file(monkeypatch: pytest.MonkeyPatch):
    assert cifar_classifier.cifar_extractor().sha256 == cifar_classifier.about()["sha256"]
    monkeypatch.setattr(cifar_classifier, "about", lambda: {"sha256": "0" * 64})
    with pytest.raises(ValueError, match=r"has the sha256 .*: expected 000"):
        cifar_classifier.cifar_extractor()


def test_the_feature_network_fits_in_two_megabytes():
    assert cifar_classifier.WEIGHTS.stat().st_size <= 2_000_000


def test_the_feature_network_has_the_accuracy_in_its_json_file(cifar_root: Path, extractor: FeatureExtractor):
    """On the first 2,000 test images: within three standard errors of what was measured on all of them."""
    test = Cifar10(root=str(cifar_root), split="test").load()
    right = (
        (extract_features(extractor, test.pixels[:2000])["logits"].argmax(1) == test.labels[:2000])
        .double()
        .mean()
        .item()
    )
    claimed = cifar_classifier.about()["test_accuracy"]
    assert claimed >= 0.915
    assert abs(right - claimed) < 3 * (claimed * (1 - claimed) / 2000) ** 0.5


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 48), (1, 32, 32)])
def test_the_feature_network_takes_grey_and_colour_of_any_size(
    extractor: FeatureExtractor, shape: tuple[int, int, int]
):
    message = extractor.extract(torch.zeros(2, *shape, dtype=torch.uint8))
    assert message.features.shape == (2, 168)
    assert message.logits.shape == (2, 10)


def test_the_feature_network_refuses_other_channels(extractor: FeatureExtractor):
    with pytest.raises(ValueError, match="2 channels"):
        extractor.extract(torch.zeros(2, 2, 32, 32, dtype=torch.uint8))


def test_an_unknown_feature_network_is_refused_with_the_choices():
    with pytest.raises(
        ValueError, match=f"no feature extractor 'incepton': choose from {', '.join(FEATURE_EXTRACTORS)}"
    ):
        feature_extractor("incepton")


def test_images_against_themselves_score_zero(cache: None, extractor: FeatureExtractor):
    digits = Digits(size=8).load()
    reference = reference_from_images(digits, "digits", extractor)
    assert reference.features is not None
    found = scores_of(reference.features, reference, extractor)
    assert found["FD-CIFAR"].value == pytest.approx(0, abs=1e-6)
    assert found["precision"].value == found["recall"].value == found["coverage"].value == 1
    assert found["sliced Wasserstein"].value == pytest.approx(0, abs=1e-9)


def test_images_that_are_all_alike_have_finite_scores_and_it_says_so(cache: None, extractor: FeatureExtractor):
    reference = reference_from_images(load_all_images(Digits(size=8)), "digits", extractor)
    images = ImageDataset(torch.full((100, 1, 8, 8), 200, dtype=torch.uint8), torch.zeros(100, dtype=torch.int64))
    report, extracted = evaluate_images(
        from_images(images, "all alike"), ReferenceSet(extractor, reference, None, {}, "none"), CPU
    )
    assert all(math.isfinite(one.value) and math.isfinite(one.error) for one in report.scores.values())
    mean, covariance = reference.statistics
    point = (extracted.features.features.double().mean(0) - mean).square().sum() + covariance.trace()
    assert report.scores[extractor.distance_name].value == pytest.approx(point.item(), rel=1e-9)
    assert "all images are identical" in report.notes[-1]
    assert "all images are identical" in report_table(report)


def test_features_are_moved_to_the_cpu(extractor: FeatureExtractor):
    """From a fake GPU, whose tensors have devices and shapes but no values."""
    with FakeTensorMode():
        message = Features(torch.zeros(2, 168, device="cuda:0"), torch.zeros(2, 10, device="cuda:0"))
        got = extract_features(
            extractor._replace(extract=lambda pixels: message), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        )
    assert {name: value.device.type for name, value in got.items()} == {"features": "cpu", "logits": "cpu"}


def test_features_of_real_images_are_cached(empty_cache: Path, extractor: FeatureExtractor):
    first = reference_from_dataset(Digits(size=8), extractor)
    blind = extractor._replace(extract=lambda pixels: pytest.fail("it looked again"))
    again = reference_from_dataset(Digits(size=8), blind)
    assert first.features is not None
    assert again.features is not None
    assert torch.equal(first.features.features, again.features.features)


def test_another_resize_rule_is_another_feature_network(cache: None, extractor: FeatureExtractor):
    reference_from_dataset(Digits(size=8), extractor)
    other = extractor._replace(
        resize="by another rule",
        extract=lambda pixels: Features(torch.ones(len(pixels), 2), torch.ones(len(pixels), 2)),
    )
    assert reference_from_dataset(Digits(size=8), other).statistics.mean.tolist() == [1, 1]


def scored(pipeline: Pipeline, folder: Path, n: int, extractor: FeatureExtractor, first: int = 0) -> EvalReport:
    reference = reference_from_dataset(Digits(size=8), extractor)
    real = ReferenceSet(extractor, reference, None, {})
    subject = generated_by(pipeline.with_sampling(QUICK), "tiny", folder, "ema", range(first, first + n), 20)
    report, _ = evaluate_images(subject, real, CPU)
    return report


def test_the_same_seeds_score_the_same_to_the_last_bit(
    cache: None, tmp_path: Path, pipeline: Pipeline, extractor: FeatureExtractor
):
    one, other = (scored(pipeline, tmp_path / name, 40, extractor) for name in ("a", "b"))
    assert one.scores == other.scores
    assert scored(pipeline, tmp_path / "c", 40, extractor, first=100).scores != one.scores


def test_samples_are_cached_and_not_generated_again(
    cache: None, tmp_path: Path, pipeline: Pipeline, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
):
    once = scored(pipeline, tmp_path, 40, extractor)
    monkeypatch.setattr(Pipeline, "sample_batches", lambda *_, **__: pytest.fail("it drew again"))
    again = scored(pipeline, tmp_path, 40, extractor)
    assert (again.scores, again.provenance) == (once.scores, once.provenance)


def test_samples_of_another_guide_or_version_are_cached_separately(
    tmp_path: Path, folder: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    weak = tmp_path / "weak"
    copytree(folder / "checkpoints", weak / "checkpoints")
    guided = replace(QUICK, guidance_model=str(weak), guidance=Guidance(2.0))

    def generated_rows(sampling: Sampling) -> tuple[Path | None, object]:
        subject = generated_by(pipeline.with_sampling(sampling), "tiny", tmp_path, "ema", range(2), 20)
        return subject.cache_dir, subject.provenance.get("guide sha256")

    once, again = generated_rows(guided), generated_rows(guided)
    assert once == again
    assert run(replace(TINY, duration=96), weak, CPU)
    assert generated_rows(guided)[0] != once[0]
    assert generated_rows(guided)[1] != once[1]
    alone = generated_rows(QUICK)
    assert alone[1] is None
    monkeypatch.setattr("limpid.evaluation.generated.version", lambda name: "another")
    assert generated_rows(QUICK)[0] != alone[0]


def test_too_few_images_are_refused(cache: None, tmp_path: Path, pipeline: Pipeline, extractor: FeatureExtractor):
    with pytest.raises(ValueError, match="39 images are too few to evaluate: expected at least 40"):
        scored(pipeline, tmp_path, 39, extractor)


@pytest.mark.parametrize(("scale", "nfe"), [(1.0, 3), (2.0, 6)])
def test_network_evaluations_are_counted_where_they_are_made(
    cache: None, tmp_path: Path, pipeline: Pipeline, extractor: FeatureExtractor, scale: float, nfe: int
):
    """Two steps of Heun take three evaluations, and guidance doubles them: for 40 images in two batches, no more."""
    batch_sizes, sampling = [], replace(QUICK, guidance=Guidance(scale))
    subject = generated_by(pipeline.with_sampling(sampling), "tiny", tmp_path, "ema", range(40), 20)
    with pipeline.model.net.register_forward_hook(lambda net, given, answer: batch_sizes.append(len(given[0]))):
        report, _ = evaluate_images(
            subject, ReferenceSet(extractor, reference_from_dataset(Digits(size=8), extractor), None, {}), CPU
        )
    assert report.provenance["NFE"] == nfe
    assert sum(batch_sizes) == 40 * nfe
    assert len(batch_sizes) == 2 * 3


def test_the_command_writes_the_protocol_beside_the_numbers(
    cache: None, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["evaluate", str(folder), "--n", "40", "--steps", "2", "--device", "cpu"]) == 0
    message = capsys.readouterr()
    assert "FD-CIFAR" in message.out
    assert "40 of 40 images" in message.err
    plain = json.loads((folder / "scores.json").read_text())["reports"][-1]
    assert plain["protocol"] == {
        "n": 40,
        "feature_extractor": cifar_classifier.NETWORK,
        "extractor_sha256": cifar_classifier.about()["sha256"],
        "resize": "antialiased bilinear to 32x32, RGB",
        "reference": "Digits",
        "reference_n": 1797,
        "reference_sha256": reference_from_dataset(Digits(size=8), feature_extractor("cifar")).sha256,
    }
    assert plain["provenance"]["seeds"] == "0..39"
    assert plain["provenance"]["steps"] == 2
    assert plain["provenance"]["weights"] == "ema"
    low, high = plain["scores"]["FD-CIFAR"]["interval"]
    assert low < plain["scores"]["FD-CIFAR"]["value"] < high


def test_a_sweep_scores_every_combination(cache: None, folder: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--sweep", "sampler.steps=1,2", "clip-denoised=True,False", "--n", "40", "--device", "cpu"]
    assert main(["evaluate", str(folder), *words]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    rows = [line[:3] for line in lines if line[0].isdigit()]
    assert rows == [[steps, clip, evaluations] for steps, evaluations in ("12", "26") for clip in ("True", "False")]
    assert (folder / "sweep.png").exists()


def test_a_sweep_over_weights_draws_with_each(cache: None, tmp_path: Path):
    folder = tmp_path / "run"
    assert run(replace(TINY, ema=Ema(halflife=1e6, rampup_ratio=0)), folder, CPU)
    words = ["--sweep", "weights=ema,raw", "--n", "40", "--steps", "2", "--out", str(tmp_path / "scores.json")]
    assert main(["evaluate", str(folder), *words, "--device", "cpu"]) == 0
    swept = load_reports(tmp_path / "scores.json")
    hashes = [weights_sha256(load(folder, runtime=CPU, weights=weights).model.net)[:12] for weights in ("ema", "raw")]
    assert [report.provenance["weights sha256"] for report in swept] == hashes
    assert hashes[0] != hashes[1]
    assert swept[0].scores["FD-CIFAR"].value != swept[1].scores["FD-CIFAR"].value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sweep", "precision=float32,bfloat16"], "options of sampling"),
        (["--sweep", "features=cifar,edm"], "options of sampling"),
        (["--sweep", "out=a.json,b.json"], "options of sampling"),
        (["--sweep", "steps=1,2", "--likelihood-images", "2"], "leave out"),
        (["--sweep", "steps=1,2", "--save-stats", "st.npz"], "leave out"),
    ],
    ids=" ".join,
)
def test_what_a_sweep_would_pass_over_is_refused(cache: None, folder: Path, words: list[str], message: str, capsys):
    assert main(["evaluate", str(folder), *words, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err


def test_a_checkpoint_is_compared_by_its_own_scores(cache: None, tmp_path: Path, folder: Path, capsys):
    copy = copytree(folder, tmp_path / "run")
    file = next((copy / "checkpoints").glob("*64.safetensors"))
    for subject, steps in ((copy, "2"), (file, "3")):
        assert main(["evaluate", str(subject), "--n", "40", "--steps", steps, "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["compare", str(copy), str(file)]) == 0
    message = capsys.readouterr().out
    assert f"A: {copy}: " in message
    assert f"B: {file}: " in message
    assert "sampled with different steps" in message
    assert main(["compare", str(copy), str(tmp_path / "none" / "checkpoints" / "other.safetensors")]) == 2
    assert "other.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["steps", "=1", "steps=", "steps=1,,2"])
def test_a_sweep_that_cannot_be_read_is_named(
    cache: None, folder: Path, words: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["evaluate", str(folder), "--sweep", words, "--device", "cpu"]) == 2
    assert f"--sweep {words}: expected an option and its values" in capsys.readouterr().err


def test_files_are_scored_as_the_run_that_drew_them(cache: None, folder: Path, capsys: pytest.CaptureFixture[str]):
    out = folder / "out"
    assert (
        main(["sample", str(folder), "--n", "40", "--npz", "--out", str(out), "--device", "cpu", "--steps", "2"]) == 0
    )
    against = ["--reference", "Digits", "--reference.size", "8"]
    look = ["--images.size", "8", "--images.channels", "L", "--n", "40", "--device", "cpu"]
    assert main(["evaluate", str(out / "samples.npz"), *look, *against]) == 0
    report = load_reports(out / "samples.npz.scores.json")[-1]
    assert report.protocol.reference == "Digits"
    own_report = scored(load(folder, runtime=CPU), folder / "again", 40, feature_extractor("cifar"))
    # The command spreads its classes in blocks, an evaluation in turns: other images, but of one distribution.
    assert report.protocol == own_report.protocol
    assert report.scores["FD-CIFAR"].value == pytest.approx(own_report.scores["FD-CIFAR"].value, rel=0.5)


def test_published_statistics_give_a_frechet_distance_alone(cache: None, tmp_path: Path, folder: Path):
    digits = Digits(size=8).load()
    archive, path = tmp_path / "digits.npz", tmp_path / "statistics.npz"
    np.savez(archive, images=digits.pixels.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy())
    look = ["--images.size", "8", "--n", "1797", "--device", "cpu", "--reference", "Digits", "--reference.size", "8"]
    assert main(["evaluate", str(archive), *look, "--save-stats", str(path)]) == 0
    common = ["evaluate", str(folder), "--n", "40", "--steps", "2", "--device", "cpu"]
    assert main([*common, "--reference", "ReferenceStats", "--reference.path", str(path)]) == 0
    by_file = load_reports(folder)[-1]
    assert main(common) == 0
    by_images = load_reports(folder)[-1]
    assert set(by_file.scores) == {"FD-CIFAR", "IS-CIFAR"}
    assert by_file.scores["FD-CIFAR"].value == pytest.approx(by_images.scores["FD-CIFAR"].value, rel=1e-6)


def test_two_runs_are_put_side_by_side(cache: None, folder: Path, capsys: pytest.CaptureFixture[str]):
    for steps in ("2", "3"):
        words = ["--n", "40", "--steps", steps, "--device", "cpu", "--out", str(folder / f"{steps}.json")]
        assert main(["evaluate", str(folder), *words]) == 0
    capsys.readouterr()
    assert main(["compare", str(folder / "2.json"), str(folder / "3.json")]) == 0
    assert "FD-CIFAR" in capsys.readouterr().out


def test_runs_scored_by_different_numbers_of_images_are_not_compared(
    cache: None, folder: Path, capsys: pytest.CaptureFixture[str]
):
    for n in ("40", "60"):
        words = ["--n", n, "--steps", "2", "--device", "cpu", "--out", str(folder / f"n{n}.json")]
        assert main(["evaluate", str(folder), *words]) == 0
    capsys.readouterr()
    assert main(["compare", str(folder / "n40.json"), str(folder / "n60.json")]) == 2
    assert "have different protocols (n 40 and 60)" in capsys.readouterr().err


@pytest.fixture(scope="module")
def by_class() -> ImageDataset:
    """Digits in the order of their classes, as folders have them in the order of their names."""
    digits = Digits(size=8).load()
    order = digits.labels.argsort(stable=True)
    return replace(digits, pixels=digits.pixels[order], labels=digits.labels[order])


def test_some_stand_for_all_though_they_lie_by_class(by_class: ImageDataset):
    some = by_class.subset(100)
    assert len(some) == 100
    assert some.labels.unique().tolist() == list(range(10))
    assert pixels_sha256(some.pixels) == pixels_sha256(by_class.subset(100).pixels)
    assert by_class.subset(5000) is by_class


def test_a_floor_of_images_that_lie_by_class_is_as_low_as_of_mixed_ones(
    cache: None, extractor: FeatureExtractor, by_class: ImageDataset
):
    mixed = Digits(size=8).load()
    reference, lying, mixed = (
        reference_from_images(images, "digits", extractor) for images in (mixed, by_class, mixed)
    )
    low, also = (held_out_scores(apart, reference, extractor, 300)["FD-CIFAR"] for apart in (mixed, lying))
    assert also == pytest.approx(low, rel=0.5)


def test_losses_are_of_images_of_all_classes(pipeline: Pipeline, by_class: ImageDataset):
    known, again = (
        generalization_gap(pipeline, by_class, by_class, 40),
        generalization_gap(pipeline, by_class.subset(40), by_class, 40),
    )
    assert torch.equal(known.training, again.training)


def test_copies_are_counted_by_held_out_images_of_all_kinds():
    draw = torch.Generator().manual_seed(0)
    seen, new = (torch.rand(4000, 48, generator=draw) for _ in range(2))
    alike = seen[:1000].repeat(4, 1) + 0.1 * torch.rand(4000, 48, generator=draw)
    generated_rows, training = torch.cat([alike[:400], new[1000:1400]]), torch.cat([seen[:1000], new[:1000]])
    counted = memorization(generated_rows, torch.cat([alike[1000:3500], new[1400:3900]]), training)
    assert counted.rate is not None
    assert counted.rate.value == pytest.approx(FALSE_ALARM_RATE, abs=0.02)


def test_files_that_lie_by_class_score_as_mixed_ones(
    cache: None, tmp_path: Path, by_class: ImageDataset, capsys: pytest.CaptureFixture[str]
):
    digits, found = Digits(size=8).load(), []
    for name, images in (("lying", by_class), ("mixed", digits)):
        np.savez(tmp_path / f"{name}.npz", images=images.pixels.permute(0, 2, 3, 1).numpy())
        look = ["--images.size", "8", "--images.channels", "L", "--n", "300", "--device", "cpu"]
        words = ["evaluate", str(tmp_path / f"{name}.npz"), *look, "--reference", "Digits", "--reference.size", "8"]
        assert main(words) == 0
        found.append(load_reports(tmp_path / f"{name}.npz.scores.json")[-1].scores["FD-CIFAR"].value)
    assert found[0] == pytest.approx(found[1], rel=0.5)


def test_held_out_images_are_those_of_the_test_split():
    assert held_out(Cifar10()) == Cifar10(split="test")
    assert held_out(Folder("x")) == Folder("x", split="test")
    assert held_out(Digits()) is None
    assert held_out(Cifar10(split="test")) is None


def test_real_held_out_images_are_the_floor(cache: None, extractor: FeatureExtractor):
    """Half the digits against the other half: nearer than any drawing of a tiny network comes."""
    digits = Digits(size=8).load()
    halves = [ImageDataset(digits.pixels[i::2], digits.labels[i::2], digits.class_names) for i in (0, 1)]
    reference, floor = (reference_from_images(half, "half", extractor) for half in halves)
    floors = held_out_scores(floor, reference, extractor, 500)
    noise = torch.randint(0, 256, (500, 1, 8, 8), dtype=torch.uint8)
    report, _ = evaluate_images(
        from_images(ImageDataset(noise, torch.zeros(500, dtype=torch.int64)), "noise"),
        ReferenceSet(extractor, reference, floor, floors),
        CPU,
    )
    assert report.scores["FD-CIFAR"].held_out == floors["FD-CIFAR"]
    assert report.scores["FD-CIFAR"].value > 10 * floors["FD-CIFAR"]


# A run on few images of one's own


def photos(path: Path, n: int, seed: int) -> Path:
    """An archive of n images of noise, which are unlike each other."""
    draw = np.random.default_rng(seed)
    np.savez(path, images=draw.integers(0, 256, (n, 8, 8, 3), np.uint8))
    return path


def run_on(place: Path, n: int, held_out: float) -> Path:
    """The folder of a tiny run on n images, of which it holds some out."""
    data = Folder(str(photos(place / "photos.npz", n, 0)), size=8, held_out=held_out)
    recipe = replace(TINY, data=data, class_conditional=False, label_dropout=0.0, augment=Augment(flip=0.0))
    quick = replace(recipe.sampling, steps=2, guidance=Guidance())
    assert run(replace(recipe, sampling=quick), place / "run", CPU)
    return place / "run"


def report_on(folder: Path, out: Path, *words: str) -> EvalReport:
    """What the command keeps."""
    assert main(["evaluate", str(folder), "--device", "cpu", "--out", str(out), *words]) == 0
    return load_reports(out)[-1]


def against(path: Path) -> list[str]:
    return ["--reference", "Folder", "--reference.root", str(photos(path, 300, 1)), "--reference.size", "8"]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on 254 images; 146 more are held out."""
    place = tmp_path_factory.mktemp("noisy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMPID_DATA", str(place / "cache"))
        return run_on(place, 400, 0.3)


@pytest.fixture
def copying_run(cache: None, noisy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It draws exact copies of its training images."""
    training = load_all_images(load_info(checkpoint_path(noisy)).recipe.data).pixels
    monkeypatch.setattr(Pipeline, "sample_batches", lambda pipeline, seeds, *_, **__: iter([training[list(seeds)]]))
    return noisy


@pytest.mark.parametrize("other", [False, True], ids=["its own images", "others"])
def test_copies_are_of_the_runs_own_training_images_whatever_it_is_scored_against(
    copying_run: Path, tmp_path: Path, other: bool
):
    words = against(tmp_path / "others.npz") if other else []
    report = report_on(copying_run, tmp_path / "scores.json", "--n", "60", *words)
    data = load_info(checkpoint_path(copying_run)).recipe.data
    training, apart = load_all_images(data), load_all_images(replace(data, split="test"))
    assert (report.protocol.reference_sha256 != pixels_sha256(training.pixels)) == other
    assert report.scores["copies by pixels"].value == report.scores["copies by features"].value == 1
    runtime = Runtime("cpu").resolve()
    known = generalization_gap(load(copying_run, runtime=runtime), training, apart, 256)
    assert report.scores["held-out loss - training loss"].value == known.mean_gap.value


def test_memorization_is_not_measured_without_the_training_images(
    copying_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    original_path, moved = copying_run.parent / "photos.npz", copying_run.parent / "moved.npz"
    original_path.rename(moved)
    try:
        report = report_on(copying_run, tmp_path / "scores.json", "--n", "60", *against(tmp_path / "others.npz"))
    finally:
        moved.rename(original_path)
    assert not [name for name in report.scores if name.startswith(("copies", "held-out loss"))]
    assert report.scores["FD-CIFAR"].held_out is not None
    gone = f"no folder or file at {original_path}; if it was moved, give its new path with --data.root"
    why = f"no memorization, no generalization gap: {gone}"
    assert report.notes[1:] == (why,)
    assert why in capsys.readouterr().out


@pytest.mark.parametrize(
    ("held_out", "why"),
    [
        (0.1, "9 images of Folder test are too few: expected at least 20"),
        (0.0, "is of the split 'test': with 0 of them held out"),
    ],
)
def test_runs_on_few_images_are_scored_without_a_floor_and_it_says_why(
    cache: None, tmp_path: Path, held_out: float, why: str
):
    run = run_on(tmp_path, 120, held_out)
    report = report_on(run, tmp_path / "scores.json", "--n", "40")
    assert {"FD-CIFAR", "KD-CIFAR", "recall"} <= report.scores.keys()
    assert all(score.held_out is None for score in report.scores.values())
    floor, copies = report.notes
    assert floor.startswith("no scores of held-out real images: ")
    assert copies.startswith("memorization only as a figure, no generalization gap: ")
    assert floor.endswith(why)
    assert copies.endswith(why)
    assert not [name for name in report.scores if name.startswith(("copies", "held-out loss"))]
    assert {path.name for path in tmp_path.glob("*by*.png")} == {"copies-by-features.png", "copies-by-pixels.png"}


def test_the_pairs_that_are_shown_are_the_same_whether_copies_are_counted_or_not():
    draw = torch.Generator().manual_seed(0)
    generated_rows, training, held = (
        torch.randint(0, 256, (n, 48), generator=draw, dtype=torch.uint8) for n in (20, 90, 40)
    )
    counted, shown = memorization(generated_rows, held, training), memorization(generated_rows, None, training)
    assert shown.rate is None
    assert torch.equal(shown.distance_ratio, counted.distance_ratio)
    assert torch.equal(shown.nearest, counted.nearest)


@pytest.fixture(scope="module")
def of_six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on six images, of which none is held out."""
    return run_on(tmp_path_factory.mktemp("six"), 6, 0.0)


@pytest.fixture(scope="module")
def of_five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on five."""
    return run_on(tmp_path_factory.mktemp("five"), 5, 0.0)


@pytest.fixture(scope="module")
def of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on a single image."""
    return run_on(tmp_path_factory.mktemp("one"), 1, 0.0)


def test_six_images_are_enough_to_compare_with(cache: None, tmp_path: Path, of_six: Path):
    report = report_on(of_six, tmp_path / "scores.json", "--n", "40")
    assert {"FD-CIFAR", "KD-CIFAR", "coverage"} <= report.scores.keys()


def test_samples_of_a_run_on_one_image_are_compared_with_another_reference(cache: None, tmp_path: Path, of_one: Path):
    report = report_on(of_one, tmp_path / "scores.json", "--n", "40", *against(tmp_path / "others.npz"))
    assert report.notes[-1].endswith("no generalization gap: Folder train has one image only")


@pytest.fixture
def no_sampling(folder: Path, noisy: Path, of_six: Path, of_five: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampling fails the test; the runs, which sample when they end, are trained before."""
    monkeypatch.setattr(Pipeline, "sample_batches", lambda *_, **__: pytest.fail("an image was sampled"))


@pytest.mark.usefixtures("no_sampling")
@pytest.mark.parametrize(
    ("place", "words", "message"),
    [
        ("of_five", "--n 40", "5 images of Folder train are too few to compare with: expected at least 6"),
        ("of_six", "--n 39", "39 images are too few to evaluate: expected at least 40"),
        ("of_six", "--sweep n=40,39", "39 images are too few to evaluate: expected at least 40"),
        ("of_six", "--n 40 --sweep sampler=Heun,Hein", "Hein"),
        ("of_six", "--n 40 --gap-images 1", "--gap-images 1: expected 0 for none, or at least 2 images"),
        ("of_six", "--n 40 --likelihood-images 4", "of the split 'test': with 0 of them held out"),
        ("noisy", "--n 40 --likelihood-images 1", "expected 2 to 146 images"),
        ("noisy", "--n 40 --likelihood-images 147", "expected 2 to 146 images"),
        ("folder", "--n 40 --likelihood-images 1798", "expected 2 to 1797 images"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_sampling(
    cache: None,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    place: str,
    words: str,
    message: str,
):
    run = request.getfixturevalue(place)
    capsys.readouterr()
    assert main(["evaluate", str(run), "--device", "cpu", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_floor_of_fewer_images_than_were_scored_is_called_so(copying_run: Path, tmp_path: Path):
    report = report_on(copying_run, tmp_path / "scores.json", "--n", "200")
    assert report.notes == ("held-out real: 146 images, as there are no more",)


@pytest.mark.usefixtures("no_sampling")
def test_a_classification_score_without_classes_or_held_out_images_is_refused_before_sampling(
    cache: None, folder: Path, noisy: Path, capsys: pytest.CaptureFixture[str]
):
    for place in (folder, noisy):
        assert main(["evaluate", str(place), "--n", "60", "--device", "cpu", "--cas"]) == 2
        assert "--cas needs a class-conditional model and held-out real images" in capsys.readouterr().err


def test_too_few_samples_for_a_classification_score_are_refused_before_sampling(
    cache: None, pipeline: Pipeline, extractor: FeatureExtractor
):
    digits = reference_from_dataset(Digits(size=8), extractor)
    check_model_metrics(ModelMetrics(cas=True), pipeline, TrainTestPair(digits, digits), 256)
    for n, training in ((255, digits), (256, digits._replace(n=200))):
        with pytest.raises(ValueError, match=f"{n} generated and {training.n} training images: expected at least 256"):
            check_model_metrics(ModelMetrics(cas=True), pipeline, TrainTestPair(training, digits), n)


def test_copies_are_found_and_new_images_are_not_copies():
    draw = torch.Generator().manual_seed(0)
    training, new, held = (torch.randint(0, 256, (n, 48), generator=draw, dtype=torch.uint8) for n in (300, 200, 400))
    copied = memorization(torch.cat([training[:50], new[:50]]), held, training)
    assert copied.distance_ratio[:50].max() == 0
    assert copied.nearest[:50].tolist() == list(range(50))
    assert copied.rate is not None
    assert copied.rate.value == pytest.approx(0.5 + FALSE_ALARM_RATE / 2, abs=0.06)
    uncopied = memorization(new, held, training)
    assert uncopied.rate is not None
    assert uncopied.rate.value == pytest.approx(FALSE_ALARM_RATE, abs=0.06)


def test_a_network_knows_images_it_has_seen_no_better_than_itself(pipeline: Pipeline):
    digits = Digits(size=8).load()
    same = generalization_gap(pipeline, digits, digits, 20)
    assert same.mean_gap.value == 0
    assert torch.equal(same.training, same.held_out)


def test_a_gap_turns_its_sign_with_the_sets(pipeline: Pipeline):
    digits = Digits(size=8).load()
    first, second = (ImageDataset(digits.pixels[i::2], digits.labels[i::2], digits.class_names) for i in (0, 1))
    original_path, back = (
        generalization_gap(pipeline, first, second, 60),
        generalization_gap(pipeline, second, first, 60),
    )
    assert original_path.mean_gap.value == -back.mean_gap.value != 0
    assert original_path.mean_gap.error == back.mean_gap.error > 0
    assert original_path.ratios == sorted(original_path.ratios)


def test_a_classifier_is_evaluated_in_float32_and_torchs_settings_are_restored():
    """torch lets the convolutions of newer GPUs round to the eleven bits of TF32."""
    convolutions, found = torch.backends.cudnn.conv, []  # pyright: ignore[reportAttributeAccessIssue]
    before, model = convolutions.fp32_precision, untrained_classifier(0, CPU)
    model.register_forward_hook(
        lambda net, shown, message: found.append((convolutions.fp32_precision, message.logits.dtype))
    )
    black = ImageDataset(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with torch.autocast("cpu", torch.bfloat16):
        accuracy_on_test_set(model, black)
    assert found == [("ieee", torch.float32)]
    assert convolutions.fp32_precision == before == "tf32"


def test_a_classifier_learns_from_images_what_it_needs_for_others():
    digits = Digits(size=8).load()
    rgb = ImageDataset(digits.pixels.expand(-1, 3, -1, -1), digits.labels, digits.class_names)
    training_set, test_set = (
        ImageDataset(rgb.pixels[:900], rgb.labels[:900]),
        ImageDataset(rgb.pixels[900:1300], rgb.labels[900:1300]),
    )
    score_of_classes = classification_score(training_set, test_set, CPU, epochs=15)
    shuffled = ImageDataset(training_set.pixels[:600], training_set.labels[:600].flip(0))
    misled = classification_score(shuffled, test_set, CPU, epochs=10)
    assert score_of_classes.value > 0.7
    assert misled.value < 0.3


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
def test_mistakes_get_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_run_is_scored_with_its_classes_in_the_shares_of_its_data(tmp_path: Path, pipeline: Pipeline):
    pipeline = pipeline.with_sampling(QUICK)
    uneven = replace(pipeline, class_counts=(900, 100, *[0] * 8))
    subject = generated_by(uneven, "tiny", tmp_path, "ema", range(50), 20)
    assert subject.labels is not None
    assert subject.labels.bincount(minlength=10).tolist() == [45, 5, *[0] * 8]
    assert subject.provenance["classes"] == "as in the training set"
    in_turn = [
        generated_by(replace(pipeline, class_counts=counts), "tiny", tmp_path, "ema", range(50), 20)
        for counts in ((), (1,) * 10, (70,) * 10)
    ]
    assert {one.provenance["classes"] for one in in_turn} == {"balanced"}
    assert len({one.cache_dir for one in in_turn}) == 1
    assert subject.cache_dir != in_turn[0].cache_dir  # samples with other labels are cached elsewhere
    for one in in_turn:
        assert one.labels is not None
        assert one.labels.tolist() == [seed % 10 for seed in range(50)]


def test_a_checkpoint_says_how_many_images_each_class_has(folder: Path, pipeline: Pipeline, monkeypatch):
    counts = load_all_images(TINY.data).class_counts
    assert pipeline.class_counts == counts
    assert sum(counts) == 1797
    older = replace(pipeline, class_counts=())
    assert with_class_counts(older, TINY.data).class_counts == counts
    assert with_class_counts(replace(older, class_names=tuple("abcdefghij")), TINY.data).class_counts == ()
    assert with_class_counts(older, Folder("nowhere")).class_counts == ()


def test_real_held_out_images_in_the_shares_of_the_training_set_score_as_such(
    cifar_root: Path, extractor: FeatureExtractor, tmp_path: Path
):
    """Of 1,800 horses and 200 ships; held-out ones with as many of each class are no better than a fault."""

    def of_two(split: Literal["train", "test"], labels: list[int]) -> Tensor:
        images = Cifar10(root=str(cifar_root), split=split).load()
        rows = [iter((images.labels == kind).nonzero().flatten().tolist()) for kind in (7, 8)]
        return images.pixels[[next(rows[label]) for label in labels]]

    reference = Moments.of(extract_features(extractor, of_two("train", [0] * 1800 + [1] * 200))["features"]).statistics
    in_turn, by_share = (
        frechet(
            Moments.of(
                extract_features(extractor, of_two("test", labels_by_share(range(1000), counts)))["features"]
            ).statistics,
            reference,
        )
        for counts in ((1, 1), (1800, 200))
    )
    assert in_turn > 20 * by_share


def test_a_network_is_not_conditioned_on_labels_of_other_classes(pipeline: Pipeline):
    renamed, images = replace(pipeline, class_names=("zero", *pipeline.class_names[1:])), load_all_images(TINY.data)
    known = TrainTestPair(Reference("digits", len(images), "", Statistics(*torch.zeros(2, 1, 1)), None, images), None)
    message = "this network was trained with 10 classes, and the data has 10: class 0 was 'zero' and is '0'"
    with pytest.raises(ValueError, match=message):
        check_model_metrics(ModelMetrics(), renamed, known, 50)
    with pytest.raises(ValueError, match=message):
        bits_per_dim(renamed, n=2, split="train")
