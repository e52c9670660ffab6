"""The samples that are evaluated: their seeds, their cache, their classes and their network evaluations."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
from evaluated_runs import QUICK, evaluate_samples
from tiny_recipes import CPU, TINY

from limpid.data import Digits
from limpid.diffusion.guidance import Guidance
from limpid.evaluation.evaluate import evaluate_images
from limpid.evaluation.generated import generated_by
from limpid.evaluation.reference import reference_from_dataset
from limpid.evaluation.reference_set import ReferenceSet
from limpid.metrics.extractors.base import FeatureExtractor
from limpid.recipes.recipe import Sampling
from limpid.sampling.pipeline import Pipeline
from limpid.training.run import run

pytestmark = pytest.mark.usefixtures("no_final_figures")


def test_the_same_seeds_score_the_same_to_the_last_bit(
    cache: None, tmp_path: Path, pipeline: Pipeline, extractor: FeatureExtractor
):
    first, second = (evaluate_samples(pipeline, tmp_path / name, 40, extractor) for name in ("a", "b"))
    assert first.scores == second.scores
    assert evaluate_samples(pipeline, tmp_path / "c", 40, extractor, first_seed=100).scores != first.scores


def test_samples_are_cached_and_not_generated_again(
    cache: None, tmp_path: Path, pipeline: Pipeline, extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
):
    first = evaluate_samples(pipeline, tmp_path, 40, extractor)
    monkeypatch.setattr(Pipeline, "sample_batches", lambda *_, **__: pytest.fail("samples were generated again"))
    second = evaluate_samples(pipeline, tmp_path, 40, extractor)
    assert (second.scores, second.provenance) == (first.scores, first.provenance)


def test_samples_of_another_guidance_model_or_version_are_cached_separately(
    tmp_path: Path, trained_run: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
):
    weak = tmp_path / "weak"
    copytree(trained_run / "checkpoints", weak / "checkpoints")
    guided = replace(QUICK, guidance_model=str(weak), guidance=Guidance(2.0))

    def cached_as(sampling: Sampling) -> tuple[Path | None, object]:
        generated = generated_by(pipeline.with_sampling(sampling), "tiny", tmp_path, "ema", range(2), 20)
        return generated.cache_dir, generated.provenance.get("guide sha256")

    before = cached_as(guided)
    assert cached_as(guided) == before
    assert run(replace(TINY, duration=96), weak, CPU)
    assert cached_as(guided)[0] != before[0]
    assert cached_as(guided)[1] != before[1]
    unguided = cached_as(QUICK)
    assert unguided[1] is None
    monkeypatch.setattr("limpid.evaluation.generated.version", lambda name: "another")
    assert cached_as(QUICK)[0] != unguided[0]


def test_too_few_images_are_refused(cache: None, tmp_path: Path, pipeline: Pipeline, extractor: FeatureExtractor):
    with pytest.raises(ValueError, match="39 images are too few to evaluate: expected at least 40"):
        evaluate_samples(pipeline, tmp_path, 39, extractor)


@pytest.mark.parametrize(("scale", "nfe"), [(1.0, 3), (2.0, 6)])
def test_every_network_evaluation_is_counted(
    cache: None, tmp_path: Path, pipeline: Pipeline, extractor: FeatureExtractor, scale: float, nfe: int
):
    """Two steps of Heun take three evaluations, and guidance doubles them; 40 images are two batches."""
    batch_sizes, guided = [], replace(QUICK, guidance=Guidance(scale))
    generated = generated_by(pipeline.with_sampling(guided), "tiny", tmp_path, "ema", range(40), 20)
    with pipeline.model.net.register_forward_hook(lambda net, inputs, output: batch_sizes.append(len(inputs[0]))):
        reference = reference_from_dataset(Digits(size=8), extractor)
        report, _ = evaluate_images(generated, ReferenceSet(extractor, reference, None, {}), CPU)
    assert report.provenance["NFE"] == nfe
    assert sum(batch_sizes) == 40 * nfe
    assert len(batch_sizes) == 2 * 3


def test_samples_are_evaluated_with_the_class_frequencies_of_the_training_set(tmp_path: Path, pipeline: Pipeline):
    pipeline = pipeline.with_sampling(QUICK)
    imbalanced = replace(pipeline, class_counts=(900, 100, *[0] * 8))
    generated = generated_by(imbalanced, "tiny", tmp_path, "ema", range(50), 20)
    assert generated.labels is not None
    assert generated.labels.bincount(minlength=10).tolist() == [45, 5, *[0] * 8]
    assert generated.provenance["classes"] == "as in the training set"
    balanced = [
        generated_by(replace(pipeline, class_counts=counts), "tiny", tmp_path, "ema", range(50), 20)
        for counts in ((), (1,) * 10, (70,) * 10)
    ]
    assert {one.provenance["classes"] for one in balanced} == {"balanced"}
    assert len({one.cache_dir for one in balanced}) == 1
    assert generated.cache_dir != balanced[0].cache_dir  # samples with other labels are cached elsewhere
    for one in balanced:
        assert one.labels is not None
        assert one.labels.tolist() == [seed % 10 for seed in range(50)]
